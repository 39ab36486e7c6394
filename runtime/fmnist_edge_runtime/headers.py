"""What stands before the pixels of a file: refused where it is made to be costly, or to be read in two ways.

Pillow reads headers as soon as it opens a file, so this comes before. Some of what it does there takes time that grows
as the square of what it is given, or an object for each number.
"""

import io
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

_MOST_BEFORE = 2**20  # bytes before the first pixels, where Pillow goes through them one by one
_MOST_PARTS = 100_000  # chunks of a PNG, segments of a JPEG
_MOST_COPIED = 16 * 2**20  # bytes of a PNG or JPEG that are no pixels, of which Pillow keeps copies
_MOST_EXIF_PARTS = 64  # of a JPEG; Pillow joins them, copying what it has each time
_MOST_EXIF_BYTES = 2**20
_MOST_INDEX_BYTES = 2**16  # of the pictures in one JPEG, which MPF lists: the most that a segment holds

_PNG, _JPEG, _GIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8"
_PNG_PIXELS = (b"IDAT", b"fdAT")
_PPM = tuple(b"P%c" % letter for letter in b"0123456fFy")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")  # the last two wrong; Pillow takes them
_EXIF, _EXIF_AS_TEXT, _INDEX = b"Exif\0\0", "Raw profile type exif", b"MPF\0"
_PADDING, _STUFFING = 0xFF, 0x00
_WITHOUT_LENGTH = (_PADDING, _STUFFING, 0x01, *range(0xD0, 0xDA))  # JPEG's markers that stand alone
_APP1, _APP2, _END = 0xE1, 0xE2, -1
START_OF_SCAN = 0xDA


class Marker(NamedTuple):
    """What a JPEG says next: the byte behind 0xFF, where its segment's length stands, and how much was passed over."""

    kind: int
    start: int
    passed_over: int


def refuse_hostile_header(content: bytes) -> None:
    """Raise ValueError for a PNG, JPEG, GIF, PPM or TIFF that would be costly to open; else do nothing.

    Raises DecompressionBombError where Pillow does.
    """
    if content.startswith(_PNG):
        _check_png(content)
    elif content.startswith(_JPEG):
        _check_jpeg(content)
    elif content.startswith((_GIF, *_PPM)):
        if len(content) > _MOST_BEFORE:
            _check_beginning(content[:_MOST_BEFORE])
    elif content.startswith(_TIFF):
        from fmnist_edge_runtime.tiff import refuse_hostile_tiff  # not for every start

        refuse_hostile_tiff(content)


def refuse_hostile_exif(image: Image.Image) -> None:
    """Raise ValueError for a picture, of any format but TIFF, whose Exif data would be costly to look into."""
    exif = image.info.get("exif") or b""
    if not exif and _EXIF_AS_TEXT in image.info:
        exif = bytes.fromhex("".join(image.info[_EXIF_AS_TEXT].split("\n")[3:]))
    _check_exif(exif)


def jpeg_markers(content: bytes) -> Iterator[Marker]:
    """Yield what stands in a JPEG up to its first scan, or its end, as Pillow and libjpeg go through it.

    Between two segments anything is passed over; some markers stand alone.
    """
    at = 2
    while True:
        found = content.find(b"\xff", at)
        found = len(content) if found < 0 else found
        kind = content[found + 1] if found + 1 < len(content) else _END
        yield Marker(kind, found + 2, found - at)
        if kind in (START_OF_SCAN, _END):
            return
        at = found + (1 if kind == _PADDING else 2)
        if kind not in _WITHOUT_LENGTH:
            at += max(2, int.from_bytes(content[at : at + 2], "big"))


def _check_exif(exif: bytes) -> None:
    if len(exif) > _MOST_EXIF_BYTES:
        raise ValueError(f"more than {_MOST_EXIF_BYTES // 2**20} MiB of Exif data")
    if exif.startswith(_EXIF * 3):  # one is read, and by some versions of Pillow a second
        raise ValueError("Exif data with more than two heads")
    while exif.startswith(_EXIF):
        exif = exif[len(_EXIF) :]
    if exif.startswith(_TIFF):
        from fmnist_edge_runtime.tiff import refuse_hostile_tags  # not for every start

        refuse_hostile_tags(exif, 4 * _MOST_EXIF_BYTES)  # cameras' and editors' are often cut short, and are read


def _check_png(content: bytes) -> None:
    at, copied = len(_PNG), 0
    for _ in range(_MOST_PARTS):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if kind in (b"IEND", b""):
            return
        copied += 0 if kind in _PNG_PIXELS else min(length, len(content) - at)
        _refuse_copies(copied)
        at += 12 + length
    raise ValueError(f"more than {_MOST_PARTS:,} chunks")


def _check_jpeg(content: bytes) -> None:
    passed_over, exif_parts = 0, list[bytes]()
    for number, (kind, start, before) in enumerate(jpeg_markers(content)):
        passed_over += before
        if passed_over > _MOST_BEFORE:
            raise ValueError(f"more than {_MOST_BEFORE // 2**20} MiB between its segments")
        if number == _MOST_PARTS:
            raise ValueError(f"more than {_MOST_PARTS:,} segments")
        _refuse_copies(start)
        inside = start + 2
        if kind == _APP1 and content.startswith(_EXIF, inside):
            if len(exif_parts) == _MOST_EXIF_PARTS:
                raise ValueError(f"more than {_MOST_EXIF_PARTS} parts of Exif data")
            exif_parts.append(_segment(content, start)[len(_EXIF) :])
        elif kind == _APP2 and content.startswith(_INDEX, inside):
            _check_index(_segment(content, start)[len(_INDEX) :])
    _check_exif(b"".join(exif_parts))  # as Pillow joins them


def _refuse_copies(count: int) -> None:
    if count > _MOST_COPIED:
        raise ValueError(f"more than {_MOST_COPIED // 2**20} MiB beside its pixels")


def _segment(content: bytes, start: int) -> bytes:
    return content[start + 2 : start + max(2, int.from_bytes(content[start : start + 2], "big"))]


def _check_index(index: bytes) -> None:
    """Refuse a list of the pictures in one JPEG, a TIFF of tags alone, that would be costly: Pillow reads all of it."""
    if index.startswith(_TIFF):
        from fmnist_edge_runtime.tiff import refuse_hostile_tags  # not for every start

        refuse_hostile_tags(index, _MOST_INDEX_BYTES)


def _check_beginning(content: bytes) -> None:
    Image.preinit()
    try:
        Image.open(io.BytesIO(content), formats=["GIF", "PPM"])
    except Image.DecompressionBombError:
        raise
    except Exception:  # whatever Pillow raises where a header does not end
        raise ValueError(f"no pixels in its first {_MOST_BEFORE // 2**20} MiB") from None
