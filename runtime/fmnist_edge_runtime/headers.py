"""What stands before the pixels of a file: refused where it is made to be costly, or to be read in two ways.

Pillow reads headers as soon as it opens a file, so this comes before. Some of what it does there takes time that grows
as the square of what it is given, or an object for each number.
"""

import io

from PIL import Image

_MOST_BEFORE = 2**20  # bytes before the first pixels, where Pillow goes through them one by one
_MOST_PARTS = 100_000  # chunks of a PNG
_MOST_COPIED = 8 * 2**20  # bytes of a PNG that are no pixels, of which Pillow keeps copies
_MOST_UNPACKED = 32 * 2**20  # bytes of a PNG's texts that may be longer in memory
_LONGEST_TEXT, _MOST_PACKED = 2**20, 1032  # characters that Pillow unpacks of a text, and deflate of a byte
_MOST_TEXT, _MOST_LINES = 3 * 2**20, 100_000  # of Exif data as text: two letters a byte

_PNG, _JPEG, _GIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8"
_PNG_PIXELS = (b"IDAT", b"fdAT")
_PNG_TEXTS = {b"zTXt": 1, b"iTXt": 4}  # bytes that a character may take
_PPM = tuple(b"P%c" % letter for letter in b"0123456fFy")
_TIFF = (b"II", b"MM")
_EXIF_AS_TEXT = "Raw profile type exif"


def refuse_hostile_header(content: bytes) -> None:
    """Raise ValueError for a PNG, JPEG, GIF, PPM or TIFF that would be costly to open; else do nothing.

    Raises DecompressionBombError where Pillow does.
    """
    if content.startswith(_PNG):
        _check_png(content)
    elif content.startswith(_JPEG):
        from fmnist_edge_runtime.jpeg import refuse_hostile_jpeg  # not for every start

        refuse_hostile_jpeg(content)
    elif content.startswith((_GIF, *_PPM)):
        if len(content) > _MOST_BEFORE:
            _check_beginning(content[:_MOST_BEFORE])
    elif content.startswith(_TIFF):
        from fmnist_edge_runtime.tiff import refuse_hostile_tiff  # as above

        refuse_hostile_tiff(content)


def refuse_hostile_exif_of(image: Image.Image) -> None:
    """Raise ValueError for a picture, of any format but TIFF, whose Exif data would be costly to look into."""
    exif, text = image.info.get("exif") or b"", image.info.get(_EXIF_AS_TEXT)
    if not exif and text:
        if len(text) > _MOST_TEXT or text.count("\n") > _MOST_LINES:
            raise ValueError(f"more than {_MOST_TEXT // 2**20} MiB, or {_MOST_LINES:,} lines, of Exif data as text")
        exif = bytes.fromhex("".join(text.split("\n")[3:]))
    if exif:
        from fmnist_edge_runtime.tiff import refuse_hostile_exif  # as above

        refuse_hostile_exif(exif)


def _check_png(content: bytes) -> None:
    at, copied, unpacked = len(_PNG), 0, 0
    for _ in range(_MOST_PARTS):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if kind in (b"IEND", b""):
            return
        there = min(length, len(content) - at)
        copied += 0 if kind in _PNG_PIXELS else there
        unpacked += _PNG_TEXTS.get(kind, 0) * max(there, min(_MOST_PACKED * there, _LONGEST_TEXT))
        if copied > _MOST_COPIED:
            raise ValueError(f"more than {_MOST_COPIED // 2**20} MiB beside its pixels")
        if unpacked > _MOST_UNPACKED:
            raise ValueError(f"more than {_MOST_UNPACKED // 2**20} MiB of texts, as far as their lengths tell")
        at += 12 + length
    raise ValueError(f"more than {_MOST_PARTS:,} chunks")


def _check_beginning(content: bytes) -> None:
    Image.preinit()
    try:
        Image.open(io.BytesIO(content), formats=["GIF", "PPM"])
    except Image.DecompressionBombError:
        raise
    except Exception:  # whatever Pillow raises where a header does not end
        raise ValueError(f"no pixels in its first {_MOST_BEFORE // 2**20} MiB") from None
