"""What a picture may cost: reckoned from its headers, before anything of it is decoded.

A limit on pixels alone would not do. Beside the picture that Pillow fills, a WebP decoder holds its canvas twice, a
progressive JPEG all its coefficients, a TIFF a whole strip or tile, which may be larger than the picture.
"""

import struct
from typing import Any

from PIL.ImageFile import ImageFile

MOST_PIXELS = 50_000_000
MOST_BYTES = 128 * 2**20
_MOST_VISITS = 1_500_000_000  # of a coefficient by a scan: about a second
_MOST_BLOCKS = 100_000  # strips or tiles of a TIFF; Pillow makes an object of each
_MOST_LAYERS = 8  # blocks that cover one another; a TIFF may keep its colours apart

_AVIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1")  # which Pillow takes for AVIF
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _COMPRESSION, _COLOURS, _STRIPS, _TURN, _ROWS = 258, 259, 262, 273, 274, 278
_TILE_WIDTH, _TILE_HEIGHT, _TILES = 322, 323, 324
_UNCOMPRESSED, _YCBCR = 1, 6
_START_OF_SCAN = 0xDA


def refuse_hostile_tiff(content: bytes) -> None:
    """Raise ValueError for a TIFF whose directory is made to be costly or to be read in two ways; else do nothing."""
    if content[:4] not in _TIFF_STARTS:
        return
    try:
        entries = _tiff_entries(content)
    except struct.error:
        raise ValueError("its directory is beyond its end") from None
    counts: dict[int, int] = {}
    for tag, count in entries:
        if tag in counts:  # Pillow would go by the last, libtiff by the first
            raise ValueError(f"tag {tag} twice")
        counts[tag] = count
    if max(counts.get(_STRIPS, 0), counts.get(_TILES, 0)) > _MOST_BLOCKS:
        raise ValueError(f"more than {_MOST_BLOCKS:,} strips")


def too_costly_avif(content: bytes) -> str | None:
    """Return why ``content``, if it is an AVIF, is not even to be opened; None if it may be, or is none.

    Raises:
        ValueError: it is damaged, or made to be costly before anything is decoded.
    """
    if content[4:8] != b"ftyp" or content[8:12] not in _AVIF_BRANDS:
        return None
    from fmnist_edge_runtime.avif import decoding_bytes  # not for every start

    return _more_than_most(decoding_bytes(content), "what it holds")


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
    needed = image.width * image.height * (1 if image.mode in ("1", "L", "P") else 4)
    if image.format == "WEBP":
        needed += 12 * image.width * image.height
    elif image.format == "TIFF":
        needed += _tiff_extra(image)
    elif image.format in ("JPEG", "MPO") and not _is_one_scan(image, content):
        coefficients = size[0] * size[1] * _samples_a_pixel(image)
        needed += round(2 * coefficients)
        scans = content.count(bytes([0xFF, _START_OF_SCAN]))
        if coefficients * scans > _MOST_VISITS:
            return f"{shape} in {scans} scans takes too long"
    return _more_than_most(needed, shape)


def _more_than_most(needed: int, what: str) -> str | None:
    if needed > MOST_BYTES:
        return f"{what} takes {-(-needed // 2**20)} MiB to decode, more than {MOST_BYTES // 2**20} MiB"
    return None


def _tiff_entries(content: bytes) -> list[tuple[int, int]]:
    """Return tag and count of each entry in the first directory of a TIFF or BigTIFF."""
    order = "<" if content[:2] == b"II" else ">"
    word, number, entry, at = ("Q", "Q", "HHQQ", 8) if b"+" in content[:4] else ("I", "H", "HHII", 4)
    (start,) = struct.unpack_from(order + word, content, at)
    (count,) = struct.unpack_from(order + number, content, start)
    first, step = start + struct.calcsize(order + number), struct.calcsize(order + entry)
    if first + count * step > len(content):
        raise struct.error
    entries = (struct.unpack_from(order + entry, content, first + step * index) for index in range(count))
    return [(tag, values) for tag, _, values, _ in entries]


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
    position = 2
    while "progressive" not in image.info and content[position : position + 1] == b"\xff":
        if content[position + 1] == _START_OF_SCAN:
            return content[position + 4] == len(image.layer)  # type: ignore[attr-defined]
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return False


def _samples_a_pixel(image: ImageFile) -> float:
    layers: list[tuple[int, int, int, int]] = image.layer  # type: ignore[attr-defined]
    factors = [(across, down) for _, across, down, _ in layers]
    largest = max(across for across, _ in factors) * max(down for _, down in factors)
    return sum(across * down for across, down in factors) / max(1, largest)
