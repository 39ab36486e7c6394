"""What stands before the pixels of a file: refused where it is made to be costly, or to be read in two ways.

Pillow reads headers as soon as it opens a file, so this comes before. Some of what it does there takes time that grows
as the square of what it is given, or an object for each number.
"""

import io

from PIL import Image

_MOST_BEFORE = 2**20  # bytes before the first pixels, where Pillow goes through them one by one
_MOST_PARTS = 100_000  # chunks of a PNG, segments of a JPEG
_MOST_EXIF_PARTS = 64  # of a JPEG; Pillow joins them, copying what it has each time
_MOST_EXIF_BYTES = 2**20

_PNG, _JPEG, _GIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8"
_PPM = tuple(b"P%c" % letter for letter in b"0123456fFy")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")  # the last two wrong; Pillow takes them
_EXIF, _EXIF_AS_TEXT = b"Exif\0\0", "Raw profile type exif"
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xDA))  # JPEG's markers that stand alone
_START_OF_SCAN, _APP1, _PADDING, _STUFFING = 0xDA, 0xE1, 0xFF, 0x00


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
    if len(exif) > _MOST_EXIF_BYTES:
        raise ValueError(f"more than {_MOST_EXIF_BYTES // 2**20} MiB of Exif data")
    while exif.startswith(_EXIF):
        exif = exif[len(_EXIF) :]
    if exif.startswith(_TIFF):
        from fmnist_edge_runtime.tiff import refuse_hostile_tags  # as above

        refuse_hostile_tags(exif, 4 * _MOST_EXIF_BYTES)  # cameras' and editors' are often cut short, and are read


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
