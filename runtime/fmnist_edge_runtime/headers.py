"""What stands before the pixels of a file: refused where it is made to be costly, or to be read in two ways.

Pillow reads headers as soon as it opens a file, so this comes before. Some of what it does there takes time that grows
as the square of what it is given, or an object for each number.
"""

import contextlib
import io
import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

_MOST_BEFORE = 2**20  # bytes before the first pixels, where Pillow goes through them one by one
_MOST_PARTS = 100_000  # chunks of a PNG, segments of a JPEG, strips or tiles of a TIFF
_MOST_NUMBERS = 200_000  # in one tag of a TIFF; three curves of 16 bits are the largest that the format knows
_MOST_EXIF_PARTS = 64  # of a JPEG; Pillow joins them, copying what it has each time
_MOST_EXIF_BYTES = 2**20

_PNG, _JPEG, _GIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8"
_PPM = tuple(b"P%c" % letter for letter in b"0123456fFy")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")  # the last two wrong; Pillow takes them
_EXIF, _EXIF_AS_TEXT = b"Exif\0\0", "Raw profile type exif"
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TYPES_AS_BYTES = (1, 2, 7)  # BYTE, ASCII and UNDEFINED, which stay as they are
_STRIPS, _TILES = 273, 324
_DIRECTORIES = (34665, 34853, 40965)  # Exif, GPS and Interoperability, which hangs on Exif: tags that lead to more tags
_MOST_TAGS = 65_535  # in a directory: of a classic TIFF there cannot be more
_TIFF_HEADER = 16  # bytes, of a BigTIFF
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xDA))  # JPEG's markers that stand alone
_START_OF_SCAN, _APP1, _PADDING, _STUFFING = 0xDA, 0xE1, 0xFF, 0x00


class _Entry(NamedTuple):
    """What a directory of a TIFF says of a tag; ``value`` is where its numbers are, or they themselves."""

    tag: int
    kind: int
    numbers: int
    value: int


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
        _check_tiff(content)


def refuse_hostile_exif(image: Image.Image) -> None:
    """Raise ValueError for a picture, of any format but TIFF, whose Exif data would be costly to look into."""
    exif = image.info.get("exif") or b""
    if not exif and _EXIF_AS_TEXT in image.info:
        exif = bytes.fromhex("".join(image.info[_EXIF_AS_TEXT].split("\n")[3:]))
    if len(exif) > _MOST_EXIF_BYTES:
        raise ValueError(f"more than {_MOST_EXIF_BYTES // 2**20} MiB of Exif data")
    while exif.startswith(_EXIF):
        exif = exif[len(_EXIF) :]
    if exif.startswith(_TIFF):
        entries = _entries_within(exif, _first_directory(exif)) if len(exif) >= _TIFF_HEADER else []
        _check_values(entries, 4 * _MOST_EXIF_BYTES)  # cameras' and editors' are often cut short, and are read


def _check_png(content: bytes) -> None:
    at = len(_PNG)
    for _ in range(_MOST_PARTS):
        length, kind = content[at : at + 4], content[at + 4 : at + 8]
        if kind in (b"IEND", b""):
            return
        at += 12 + int.from_bytes(length, "big")
    raise ValueError(f"more than {_MOST_PARTS:,} chunks")


def _check_jpeg(content: bytes) -> None:
    """Go from marker to marker up to the first scan, as Pillow does: what is between two segments is passed over."""
    at, passed_over, exif_parts = 2, 0, 0
    for _ in range(_MOST_PARTS):
        start = content.find(b"\xff", at)
        passed_over += start - at
        if start < 0 or start + 1 == len(content) or content[start + 1] == _START_OF_SCAN:
            return
        marker, at = content[start + 1], start + 2
        if marker == _PADDING:
            at = start + 1
        elif marker != _STUFFING and marker not in _WITHOUT_LENGTH:
            exif_parts += marker == _APP1 and content.startswith(_EXIF, start + 4)
            at += max(2, int.from_bytes(content[at : at + 2], "big"))
        if exif_parts > _MOST_EXIF_PARTS:
            raise ValueError(f"more than {_MOST_EXIF_PARTS} parts of Exif data")
        if passed_over > _MOST_BEFORE:
            raise ValueError(f"more than {_MOST_BEFORE // 2**20} MiB between its segments")
    raise ValueError(f"more than {_MOST_PARTS:,} segments")


def _check_beginning(content: bytes) -> None:
    Image.preinit()
    try:
        Image.open(io.BytesIO(content), formats=["GIF", "PPM"])
    except Image.DecompressionBombError:
        raise
    except Exception:  # whatever Pillow raises where a header does not end
        raise ValueError(f"no pixels in its first {_MOST_BEFORE // 2**20} MiB") from None


def _check_tiff(content: bytes) -> None:
    if content.startswith(b"MM\0+"):  # Pillow looks for its directory where libtiff does not
        raise ValueError("a BigTIFF in big-endian order, which is not read")
    try:
        entries = list(_directory(content, _first_directory(content)))
    except struct.error:
        raise ValueError("its directory is beyond its end") from None
    tags = [entry.tag for entry in entries]
    if len(set(tags)) < len(tags):  # Pillow would go by the one, libtiff by the other
        raise ValueError("a tag twice")
    if any(entry.numbers > _MOST_PARTS for entry in entries if entry.tag in (_STRIPS, _TILES)):
        raise ValueError(f"more than {_MOST_PARTS:,} strips")
    for tag in _DIRECTORIES:
        places = [entry.value for entry in entries if entry.tag == tag]
        if len(places) > 1:
            raise ValueError("a tag twice")
        entries += _entries_within(content, *places) if places else []
    _check_values(entries, len(content))


def _check_values(entries: list[_Entry], most_bytes: int) -> None:
    for entry in entries:
        if entry.numbers > _MOST_NUMBERS and entry.kind not in _TYPES_AS_BYTES:
            raise ValueError(f"more than {_MOST_NUMBERS:,} numbers in tag {entry.tag}")
    if sum(_TYPE_BYTES.get(entry.kind, 0) * entry.numbers for entry in entries) > most_bytes:
        raise ValueError("its tags hold more than they can")


def _entries_within(content: bytes, start: int) -> list[_Entry]:
    """Return the entries of a directory that are in ``content``: Pillow takes those of a damaged one."""
    entries = []
    with contextlib.suppress(struct.error):
        for entry in _directory(content, start):
            entries.append(entry)  # noqa: PERF402 - those before the error are wanted
    return entries


def _first_directory(content: bytes) -> int:
    """Return where a TIFF's first directory is; struct.error if the header is not whole."""
    word, at = ("Q", 8) if _is_big(content) else ("I", 4)
    return int(struct.unpack_from(_order(content) + word, content, at)[0])


def _directory(content: bytes, start: int) -> Iterator[_Entry]:
    """Yield the entries of the directory of a TIFF, or of Exif data, at ``start``; struct.error where it ends early."""
    order = _order(content)
    number, entry = ("Q", "HHQQ") if _is_big(content) else ("H", "HHII")
    (count,) = struct.unpack_from(order + number, content, start)
    if count > _MOST_TAGS:
        raise ValueError(f"more than {_MOST_TAGS:,} tags")
    start += struct.calcsize(order + number)
    for index in range(count):
        yield _Entry(*struct.unpack_from(order + entry, content, start + index * struct.calcsize(order + entry)))


def _order(content: bytes) -> str:
    return "<" if content[:2] == b"II" else ">"


def _is_big(content: bytes) -> bool:
    return content[2] == ord("+")
