"""What a picture may cost to decode: reckoned from its headers, before anything of it is decoded.

A limit on pixels alone would not do. Beside the picture that Pillow fills, a WebP decoder holds its canvas twice, a
progressive JPEG all its coefficients, a TIFF a whole strip or tile, which may be larger than the picture.
"""

from typing import Any

from PIL.ImageFile import ImageFile

from fmnist_edge_runtime.headers import START_OF_SCAN, jpeg_markers

MOST_PIXELS = 50_000_000
MOST_BYTES = 132 * 2**20  # an AVIF of 4032 x 3024 pixels, as telephones take them, comes to 129
_FREE_BYTES = 32 * 2**20  # of a file, which is held while it is decoded; what is above counts
_MOST_VISITS = 1_500_000_000  # of a coefficient by a scan: about a second
_MOST_IN_PYTHON = 2_500_000  # samples, or bytes by four: a second or two
_MOST_COMMENTS = 1_000  # in the pixels of a plain PPM; a megabyte is copied for each
_MOST_LAYERS = 8  # blocks that cover one another; a TIFF may keep its colours apart

_AVIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1")  # which Pillow takes for AVIF
_DECODERS_IN_PYTHON = ("ppm", "ppm_plain", "bmp_rle")
_BITS, _COMPRESSION, _COLOURS, _TURN, _ROWS, _TILE_WIDTH, _TILE_HEIGHT = 258, 259, 262, 274, 278, 322, 323
_UNCOMPRESSED, _YCBCR = 1, 6


def too_costly_avif(content: bytes) -> str | None:
    """Return why ``content``, if it is an AVIF, is not even to be opened; None if it may be, or is none.

    Raises:
        ValueError: it is damaged, or made to be costly before anything is decoded.
    """
    if content[4:8] != b"ftyp" or content[8:12] not in _AVIF_BRANDS:
        return None
    from fmnist_edge_runtime.avif import decoding_bytes  # not for every start

    return _more_than_most(decoding_bytes(content), content, "what it holds")


def too_costly(image: ImageFile, size: tuple[int, int], content: bytes) -> str | None:
    """Return why ``image``, opened from ``content`` and not yet decoded, is not to be decoded; None if it may be.

    ``size`` is the file's; ``image.size`` is smaller where a JPEG is decoded at a fraction of its size.
    """
    shape = f"{size[0]} x {size[1]}"
    if size[0] * size[1] > MOST_PIXELS:
        return f"{shape} is more than {MOST_PIXELS:,} pixels"
    boxes = [tile[1] for tile in image.tile if tile[1]]
    covered = sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)
    if covered > _MOST_LAYERS * image.width * image.height:
        return f"its parts cover its {shape} pixels too often"
    if _takes_long_in_python(image, content):
        return f"{shape} in this format takes too long to decode"
    needed = image.width * image.height * (1 if image.mode in ("1", "L", "P") else 4)
    if image.format == "WEBP":
        needed += 12 * image.width * image.height
    elif image.format == "TIFF":
        needed += _tiff_extra(image) + len(content)  # which its tags may all but fill, and Pillow copies them
    elif image.format in ("JPEG", "MPO") and not _is_one_scan(image, content):
        coefficients = size[0] * size[1] * _samples_a_pixel(image)
        needed += round(2 * coefficients)
        scans = content.count(bytes([0xFF, START_OF_SCAN]))
        if coefficients * scans > _MOST_VISITS:
            return f"{shape} in {scans} scans takes too long"
    return _more_than_most(needed, content, shape)


def _takes_long_in_python(image: ImageFile, content: bytes) -> bool:
    decoder = image.tile[0][0] if image.tile else ""
    if decoder not in _DECODERS_IN_PYTHON:
        return False
    samples = image.width * image.height * len(image.getbands())
    too_many_comments = decoder == "ppm_plain" and content.count(b"#") > _MOST_COMMENTS
    return max(samples, len(content) // 4) > _MOST_IN_PYTHON or too_many_comments


def _more_than_most(needed: int, content: bytes, what: str) -> str | None:
    needed += max(0, len(content) - _FREE_BYTES)
    if needed > MOST_BYTES:
        return f"{what} takes {-(-needed // 2**20)} MiB to decode, more than {MOST_BYTES // 2**20} MiB"
    return None


def _tiff_extra(image: ImageFile) -> int:
    """Return the bytes that decoding a TIFF takes beside the picture: a strip or tile, and a copy to turn it."""
    tags: dict[int, Any] = image.tag_v2  # type: ignore[attr-defined]
    extra = 4 * image.width * image.height if tags.get(_TURN, 1) != 1 else 0
    if tags.get(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED:
        return extra
    longest = max(image.size)
    width, height = tags.get(_TILE_WIDTH, longest), tags.get(_TILE_HEIGHT, min(tags.get(_ROWS, longest), longest))
    bits = sum(tags.get(_BITS, (1,))) + (32 if tags.get(_COLOURS) == _YCBCR else 0)  # made RGBA by libtiff
    return int(extra + width * height * bits / 8)


def _is_one_scan(image: ImageFile, content: bytes) -> bool:
    """Whether all components come in the first scan: then a JPEG is decoded line by line, and the scan is the last."""
    if "progressive" in image.info:
        return False
    components = len(image.layer)  # type: ignore[attr-defined]
    return any(
        content[marker.start + 2 : marker.start + 3] == bytes([components])
        for marker in jpeg_markers(content)
        if marker.kind == START_OF_SCAN
    )


def _samples_a_pixel(image: ImageFile) -> float:
    layers: list[tuple[int, int, int, int]] = image.layer  # type: ignore[attr-defined]
    factors = [(across, down) for _, across, down, _ in layers]
    largest = max(across for across, _ in factors) * max(down for _, down in factors)
    return sum(across * down for across, down in factors) / max(1, largest)
