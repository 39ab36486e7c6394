"""What stands before the pixels of a file: refused where it is made to be costly, or to be read in two ways.

Pillow reads headers as soon as it opens a file, so this comes before. Some of what it does there takes time that grows
as the square of what it is given, or an object for each number.
"""

import io
import struct

from PIL import Image

_MOST_BEFORE = 2**20  # bytes before the first pixels, where Pillow goes through them one by one
_MOST_PARTS = 100_000  # chunks of a PNG; strips, tiles or numbers in one tag of a TIFF
_MOST_EXIF_PARTS = 64  # of a JPEG and the pictures within it; Pillow joins them, copying what it has each time

_PNG, _JPEG, _GIF, _PPM = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"P"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")  # the last two wrong; Pillow takes them
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TYPES_AS_BYTES = (1, 2, 7)  # BYTE, ASCII and UNDEFINED, which stay as they are
_STRIPS, _TILES = 273, 324


def refuse_hostile_header(content: bytes) -> None:
    """Raise ValueError for a PNG, JPEG, GIF, PPM or TIFF that would be costly to open; else do nothing."""
    if content.startswith(_PNG):
        _check_png(content)
    elif content.startswith(_JPEG):
        if content.count(b"Exif\0\0") > _MOST_EXIF_PARTS:
            raise ValueError(f"more than {_MOST_EXIF_PARTS} parts of Exif data")
    elif content.startswith((_GIF, _PPM)):
        if len(content) > _MOST_BEFORE:
            _check_beginning(content[:_MOST_BEFORE])
    elif content.startswith(_TIFF):
        _check_tiff(content)


def _check_beginning(content: bytes) -> None:
    Image.preinit()
    try:
        Image.open(io.BytesIO(content), formats=["GIF", "PPM"])
    except Exception:  # whatever Pillow raises where a header does not end
        raise ValueError(f"no pixels in its first {_MOST_BEFORE // 2**20} MiB") from None


def _check_png(content: bytes) -> None:
    at, kind = len(_PNG), b""
    for _ in range(_MOST_PARTS):
        length, kind = content[at : at + 4], content[at + 4 : at + 8]
        if kind in (b"IEND", b""):
            return
        at += 12 + int.from_bytes(length, "big")
    raise ValueError(f"more than {_MOST_PARTS:,} chunks")


def _check_tiff(content: bytes) -> None:
    try:
        entries = _tiff_entries(content)
    except struct.error:
        raise ValueError("its directory is beyond its end") from None
    seen: set[int] = set()
    for tag, kind, count in entries:
        if tag in seen:  # Pillow would go by the one, libtiff by the other
            raise ValueError(f"tag {tag} twice")
        seen.add(tag)
        if count > _MOST_PARTS and (kind not in _TYPES_AS_BYTES or tag in (_STRIPS, _TILES)):
            raise ValueError(f"more than {_MOST_PARTS:,} numbers in tag {tag}")
    if sum(_TYPE_BYTES.get(kind, 0) * count for _, kind, count in entries) > len(content):
        raise ValueError("its tags hold more than the file")


def _tiff_entries(content: bytes) -> list[tuple[int, int, int]]:
    """Return tag, type and count of each entry in the first directory of a TIFF or BigTIFF."""
    order = "<" if content[:2] == b"II" else ">"
    word, number, entry, at = ("Q", "Q", "HHQQ", 8) if b"+" in content[:4] else ("I", "H", "HHII", 4)
    (start,) = struct.unpack_from(order + word, content, at)
    (count,) = struct.unpack_from(order + number, content, start)
    first, step = start + struct.calcsize(order + number), struct.calcsize(order + entry)
    if first + count * step > len(content):
        raise struct.error
    entries = (struct.unpack_from(order + entry, content, first + step * index) for index in range(count))
    return [(tag, kind, values) for tag, kind, values, _ in entries]
