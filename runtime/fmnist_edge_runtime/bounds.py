"""What a picture may cost to decode: reckoned from its headers, before anything of it is decoded.

A limit on pixels alone would not do. Beside the picture that Pillow fills, a WebP decoder holds its canvas twice, a
progressive JPEG all its coefficients, a TIFF a whole strip or tile, which may be larger than the picture.
"""

from typing import Any

from PIL.ImageFile import ImageFile

MOST_PIXELS = 50_000_000
MOST_BYTES = 132 * 2**20  # an AVIF of 4032 x 3024 pixels, as telephones take them, comes to 129
_FREE_BYTES = 16 * 2**20  # of a file, which is held while it is decoded; what is above counts
_MOST_VISITS = 1_500_000_000  # of a coefficient by a scan: about a second
_MOST_IN_PYTHON = 2_500_000  # samples, or bytes by four: a second or two
_MOST_COMMENTS = 1_000  # in the pixels of a plain PPM; a megabyte is copied for each
_MOST_LAYERS = 8  # blocks that cover one another; a TIFF may keep its colours apart

_AVIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1")  # which Pillow takes for AVIF
_DECODERS_IN_PYTHON = ("ppm", "ppm_plain", "bmp_rle")
_BITS, _COMPRESSION, _COLOURS, _TURN, _SAMPLES, _ROWS = 258, 259, 262, 274, 277, 278
_TILE_WIDTH, _TILE_HEIGHT, _XMP = 322, 323, 700
_UNCOMPRESSED, _YCBCR = 1, 6
_WITH_WINDOW = (34_925, 50_000)  # LZMA and Zstandard keep what they have unpacked, up to a strip


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
        needed += 12 * image.width * image.height + 2 * len(content)  # of which the decoder and Pillow make copies
    elif image.format == "TIFF":
        if _tiled_pixels(image) > _MOST_LAYERS * MOST_PIXELS:
            return f"its tiles cover its {shape} pixels too often"
        needed += _tiff_extra(image, content)
    elif image.format in ("JPEG", "MPO"):
        from fmnist_edge_runtime.jpeg import count_scans, is_one_scan  # not for every start

        if not is_one_scan(content):
            coefficients = size[0] * size[1] * _samples_a_pixel(image)
            needed += round(2 * coefficients)
            scans = count_scans(content)
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


def _tiled_pixels(image: ImageFile) -> int:
    """Return the pixels of a TIFF's tiles, which may be larger than the picture; 0 without tiles."""
    tags: dict[int, Any] = image.tag_v2  # type: ignore[attr-defined]
    width, height = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_HEIGHT, 0)
    if not width or not height:
        return 0
    return int(-(-image.width // width) * width * -(-image.height // height) * height)


def _tiff_extra(image: ImageFile, content: bytes) -> int:
    """Return the bytes that decoding a TIFF takes beside the picture: tags, a strip or tile, and a copy to turn it."""
    from fmnist_edge_runtime.tiff import bytes_of_values  # not for every start

    tags: dict[int, Any] = image.tag_v2  # type: ignore[attr-defined]
    extra = 2 * bytes_of_values(content)
    if tags.get(_TURN, 1) != 1 or _XMP in tags:  # which may say so as well
        extra += 4 * image.width * image.height
    compression = tags.get(_COMPRESSION, _UNCOMPRESSED)
    if compression == _UNCOMPRESSED:
        return extra
    longest = max(image.size)
    width, height = tags.get(_TILE_WIDTH, longest), tags.get(_TILE_HEIGHT, min(tags.get(_ROWS, longest), longest))
    given = tags.get(_BITS, (1,))
    bits = sum(given) * (tags.get(_SAMPLES, 1) if len(given) == 1 else 1)
    bits += 32 if tags.get(_COLOURS) == _YCBCR else 0  # made RGBA by libtiff
    return int(extra + width * height * bits / 8 * (2 if compression in _WITH_WINDOW else 1))


def _samples_a_pixel(image: ImageFile) -> float:
    layers: list[tuple[int, int, int, int]] = image.layer  # type: ignore[attr-defined]
    factors = [(across, down) for _, across, down, _ in layers]
    largest = max(across for across, _ in factors) * max(down for _, down in factors)
    return sum(across * down for across, down in factors) / max(1, largest)
