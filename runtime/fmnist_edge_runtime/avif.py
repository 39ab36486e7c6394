"""What an AVIF takes to decode: reckoned from the AV1 data itself, for what the file says around it may be a lie.

libavif decodes frames at their true size, then scales them to the size that was claimed. Which of the pictures in the
file it will decode is left open: all are counted, of an animation the first frame of each track. Sections are those of
ISO/IEC 14496-12 (boxes) and 23008-12 (pictures).
"""

import struct
from typing import NamedTuple, TypeAlias

from fmnist_edge_runtime.av1 import Bits, Bytes, frames

Size: TypeAlias = tuple[int, int]

_MOST_BOXES = 5_000  # in one
_MOST_INDEX = 64 * 2**10  # bytes of boxes about all items; for each item libavif looks through all others
_MOST_MOVIE = 2**20  # bytes about the frames of an animation
_MOST_TRACKS = 16
_MOST_SAMPLES = 100_000  # frames of a track; libavif makes an object of each
_MOST_PICTURES = 1_000  # tiles of a grid, mostly
_MOST_DATA = 64 * 2**20  # bytes of all items
_MOST_OTHER = 8 * 2**20  # bytes that are no picture; libavif and Pillow copy them
_INDEXES = (b"iinf", b"iloc", b"iref", b"ipma", b"grpl")


class _Item(NamedTuple):
    number: int
    data: Bytes
    is_joined: bool  # from several places: libavif makes a copy


def decoding_bytes(content: bytes) -> int:
    """Return the bytes that decoding an AVIF takes.

    Raises:
        ValueError: it is damaged, or made to be costly before anything is decoded.
    """
    whole = memoryview(content)
    if _inside(whole, b"mini"):
        raise ValueError("a MinimizedImageBox")
    tracks = _inside(_sole(whole, b"moov"), b"trak")
    if len(tracks) > _MOST_TRACKS:
        raise ValueError(f"more than {_MOST_TRACKS} tracks")
    metas = [_sole(whole, b"meta"), *(_sole(track, b"meta") for track in tracks)]
    items = [_items_cost(meta[4:], whole) for meta in metas]
    movie = [_track_cost(track, whole) for track in tracks]
    largest = max((width * height for _, sizes in items + movie for width, height in sizes), default=0)
    frames_of_either = max(sum(cost for cost, _ in items), sum(cost for cost, _ in movie))
    return round(8 * largest + frames_of_either)  # Pillow holds two copies at once, of up to 4 bytes a pixel


def _boxes(data: memoryview) -> list[tuple[bytes, memoryview]]:
    """Return kind and content of each box (14496-12, 4.2)."""
    found, at, index = list[tuple[bytes, memoryview]](), 0, 0
    while len(data) - at >= 8:
        size, kind, start = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8]), at + 8
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        end = at + size if size else len(data)
        if not start <= end <= len(data):
            raise ValueError("a box is longer than what it is in")
        index += end - at if kind in _INDEXES else 0
        if index > _MOST_INDEX or (kind == b"moov" and end - at > _MOST_MOVIE) or len(found) == _MOST_BOXES:
            raise ValueError("more in its boxes than a picture needs")
        found.append((kind, data[start:end]))
        at = end
    return found


def _inside(data: memoryview, *path: bytes) -> list[memoryview]:
    """Return the contents of all boxes at ``path``."""
    found = [data]
    for kind in path:
        found = [content for part in found for name, content in _boxes(part) if name == kind]
    return found


def _sole(data: memoryview, *path: bytes) -> memoryview:
    """Return the content of the one box at ``path``, nothing if there is none."""
    found = _inside(data, *path)
    if len(found) > 1:
        raise ValueError(f"{len(found)} boxes where one is allowed ({path[-1].decode()})")
    return found[0] if found else data[:0]


def _picture_cost(data: Bytes, claimed: list[Size]) -> float:
    """Return the bytes of a picture's frames, and of copies scaled to each size claimed that no deepest frame has.

    All twice: film grain, super-resolution and grids make another copy.
    """
    made = list(frames(data))
    deepest = max((frame.bytes_a_pixel for frame in made), default=0)
    scaled = set(claimed) - {(frame.width, frame.height) for frame in made if frame.bytes_a_pixel == deepest}
    return 2 * (sum(frame.bytes for frame in made) + sum(deepest * width * height for width, height in scaled))


def _items_cost(meta: memoryview, whole: memoryview) -> tuple[float, list[Size]]:
    """Return the bytes that the pictures of a MetaBox take, and all sizes that it claims."""
    kinds, claims, items = _kinds(meta), _claims(meta), _items(meta, whole)
    pictures = [item for item in items if b"av01" in kinds.get(item.number, ())]
    grids = [_grid_size(item.data) for item in items if b"grid" in kinds.get(item.number, ())]
    others = sum(len(item.data) for item in items) - sum(len(item.data) for item in pictures)
    if len(pictures) > _MOST_PICTURES:
        raise ValueError(f"more than {_MOST_PICTURES:,} pictures")
    if others + len(_sole(meta, b"iprp", b"ipco")) > _MOST_OTHER:
        raise ValueError(f"more than {_MOST_OTHER // 2**20} MiB that are no picture")
    for item in items:
        if b"Exif" in kinds.get(item.number, ()):
            _check_exif(bytes(item.data))
    sizes = list({size for claimed in claims.values() for size in claimed})
    cost = sum(_picture_cost(item.data, claims.get(item.number, sizes)) for item in pictures)
    return cost + sum(len(item.data) for item in items if item.is_joined), sizes + grids


def _check_exif(data: bytes) -> None:
    """Refuse Exif data that would be costly: where they begin, from the fifth byte on, the first four say (A.2.1)."""
    from fmnist_edge_runtime.tiff import refuse_hostile_exif  # not for every start

    for start in {4, 4 + int.from_bytes(data[:4], "big")}:
        refuse_hostile_exif(data[start:])


def _kinds(meta: memoryview) -> dict[int, set[bytes]]:
    """The kinds of each item (ItemInfoBox, 14496-12, 8.11.6)."""
    kinds: dict[int, set[bytes]] = {}
    box = _sole(meta, b"iinf")
    for entry in _inside(box[8 if any(box[:1]) else 6 :], b"infe"):
        fields = Bits(entry)
        version, _ = fields.numbers(8, 24)
        number, _, kind = fields.numbers(16 if version < 3 else 32, 16, 32)
        kinds.setdefault(number, set()).add(kind.to_bytes(4, "big"))
    return kinds


def _claims(meta: memoryview) -> dict[int, list[Size]]:
    """The sizes claimed of each item (ItemPropertyAssociationBox and ImageSpatialExtentsProperty, 23008-12)."""
    properties = _boxes(_sole(meta, b"iprp", b"ipco"))
    claims: dict[int, list[Size]] = {}
    for box in _inside(meta, b"iprp", b"ipma"):
        fields = Bits(box)
        version, flags, entries = fields.numbers(8, 24, 32)
        for _ in range(entries):
            number, count = fields.numbers(32 if version else 16, 8)
            for _ in range(count):
                _, index = fields.numbers(1, 15 if flags & 1 else 7)
                if 0 < index <= len(properties) and properties[index - 1][0] == b"ispe":
                    _, width, height = Bits(properties[index - 1][1]).numbers(32, 32, 32)
                    claims.setdefault(number, []).append((width, height))
    return claims


def _items(meta: memoryview, whole: memoryview) -> list[_Item]:
    """All items (ItemLocationBox, 14496-12, 8.11.3)."""
    box, items, total = _sole(meta, b"iloc"), list[_Item](), 0
    sources = (whole, _sole(meta, b"idat"))
    fields = Bits(box or bytes(8))
    version, _, *nibbles = fields.numbers(8, 24, 4, 4, 4, 4)
    offset_bits, length_bits, base_bits, index_bits = (8 * nibble for nibble in nibbles)
    wide = 32 if version == 2 else 16
    for _ in range(fields.number(wide)):
        number, method, _ = fields.numbers(wide, 16 if version else 0, 16)
        base, extents = fields.numbers(base_bits, 16)
        if version > 2 or method > 1 or length_bits == 0:
            raise ValueError("items that are not where they should be")
        parts = []
        for _ in range(extents):
            _, offset, length = fields.numbers(index_bits if version else 0, offset_bits, length_bits)
            part = sources[method][base + offset : base + offset + length]
            total += length
            if not len(part) == length > 0 or total > _MOST_DATA:
                raise ValueError("an item is empty, too long or beyond its end")
            parts.append(part)
        items.append(_Item(number, parts[0] if len(parts) == 1 else b"".join(parts), len(parts) > 1))
    return items


def _grid_size(data: Bytes) -> Size:
    """The size of a grid of pictures (23008-12, 6.6.2.3)."""
    fields = Bits(data)
    _, flags, _ = fields.numbers(8, 8, 16)
    width, height = fields.numbers(*[32 if flags & 1 else 16] * 2)
    return width, height


def _track_cost(track: memoryview, whole: memoryview) -> tuple[float, list[Size]]:
    """Return the bytes that the first frame of a track takes, and the size claimed (14496-12, 8.3.2 and 8.5 to 8.7)."""
    table = _sole(track, b"mdia", b"minf", b"stbl")
    if b"av01" not in [kind for box in _inside(table, b"stsd") for kind, _ in _boxes(box[8:])]:
        return 0.0, []
    header = _sole(track, b"tkhd")
    if bytes(header[:1]) not in (b"\0", b"\1"):
        raise ValueError("an unknown kind of track")
    width, height = (side >> 16 for side in Bits(header[88 if header[0] else 76 :]).numbers(32, 32))
    sizes = Bits(_sole(table, b"stsz"))
    _, size, _ = sizes.numbers(32, 32, 32)
    size = size or sizes.number(32)
    long, short = _sole(table, b"co64"), _sole(table, b"stco")
    chunks = Bits(long or short)
    _, count, start = chunks.numbers(32, 32, 64 if long else 32)
    runs = _sole(table, b"stsc")[8:]
    most = max((samples for _, samples, _ in struct.iter_unpack(">III", runs[: len(runs) // 12 * 12])), default=0)
    if long and short:
        raise ValueError("its frames are said to be in two places")
    if count * most > _MOST_SAMPLES:
        raise ValueError(f"more than {_MOST_SAMPLES:,} frames")
    if not 0 < size <= len(whole) - start:
        raise ValueError("its first frame is beyond its end")
    return _picture_cost(whole[start : start + size], [(width, height)]), [(width, height)]
