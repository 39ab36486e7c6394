"""The tags of a TIFF, of which Pillow makes an object for each number as soon as it opens one; Exif data are a TIFF."""

import contextlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

from fmnist_edge_runtime.jpeg import is_one_scan

_MOST_STRIPS = 100_000  # or tiles
_MOST_STRIP_BYTES = 64 * 2**20  # of all of them, wherever they are: libtiff may copy each
_MOST_NUMBERS = 200_000  # in one tag; three curves of 16 bits are the largest that the format knows
_MOST_EXIF_NUMBERS = 20_000  # in all tags of Exif data and the like, each of which Pillow makes an object of
_MOST_EXIF_BYTES = 2**20
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TYPES_AS_BYTES = (1, 2, 7)  # BYTE, ASCII and UNDEFINED, which stay as they are
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES, _COMPRESSION, _OLD_JPEG = 273, 279, 324, 325, 259, 513
_JPEG = (6, 7)  # compressions: as it was, and as it is
_MOST_BEFORE_SCAN = 2**16  # bytes of each
_MOST_FRAMES = 10_000  # of JPEG in different places
_NUMBERS = {3: "H", 4: "I", 16: "Q"}  # how SHORT, LONG and LONG8 are packed
_PLACES = (4, 13, 16, 18)  # LONG, IFD and the like: what leads to a directory
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")  # the last two wrong; Pillow takes them
_EXIF = b"Exif\0\0"
_DIRECTORIES = (34665, 34853, 40965)  # Exif, GPS and Interoperability, which hangs on Exif: tags that lead to more tags
_MOST_TAGS = 65_535  # in a directory: of a classic TIFF there cannot be more
_HEADER = 16  # bytes, of a BigTIFF


class _Entry(NamedTuple):
    """What a directory of a TIFF says of a tag; ``value`` is where its numbers are, or they themselves."""

    tag: int
    kind: int
    numbers: int
    value: int


def refuse_hostile_tiff(content: bytes) -> None:
    """Raise ValueError for a TIFF whose tags would be costly to read, or could be read in two ways; else do nothing."""
    if not content.startswith(_MAGIC):
        return
    if content.startswith(b"MM\0+"):  # Pillow looks for its directory where libtiff does not
        raise ValueError("a BigTIFF in big-endian order, which is not read")
    try:
        entries = list(_directory(content, _first_directory(content)))
    except struct.error:
        raise ValueError("its directory is beyond its end") from None
    tags = [entry.tag for entry in entries]
    if len(set(tags)) < len(tags):  # Pillow would go by the one, libtiff by the other
        raise ValueError("a tag twice")
    if any(entry.numbers > _MOST_STRIPS for entry in entries if entry.tag in (_STRIPS, _TILES)):
        raise ValueError(f"more than {_MOST_STRIPS:,} strips")
    if sum(_numbers(content, entries, _STRIP_BYTES) + _numbers(content, entries, _TILE_BYTES)) > _MOST_STRIP_BYTES:
        raise ValueError(f"more than {_MOST_STRIP_BYTES // 2**20} MiB in its strips")
    _check_frames(content, entries)
    inner = list[_Entry]()
    for tag in _DIRECTORIES:
        leading = [entry for entry in entries + inner if entry.tag == tag]
        if len(leading) > 1:
            raise ValueError("a tag twice")
        if any(entry.kind not in _PLACES or entry.numbers != 1 for entry in leading):  # Pillow would look elsewhere
            raise ValueError("a directory that is nowhere")
        inner += _entries_within(content, leading[0].value) if leading else []
    _check_values(entries + inner, len(content))
    _check_numbers(inner)


def refuse_hostile_exif(exif: bytes) -> None:
    """Raise ValueError for Exif data, with or without their head, that would be costly to look into; else do nothing.

    Cameras' and editors' are often cut short, and are read.
    """
    if len(exif) > _MOST_EXIF_BYTES:
        raise ValueError(f"more than {_MOST_EXIF_BYTES // 2**20} MiB of Exif data")
    if exif.startswith(_EXIF * 3):  # one is read, and by some versions of Pillow a second
        raise ValueError("Exif data with more than two heads")
    while exif.startswith(_EXIF):
        exif = exif[len(_EXIF) :]
    refuse_hostile_tags(exif, 4 * _MOST_EXIF_BYTES)


def refuse_hostile_tags(tags: bytes, most_bytes: int) -> None:
    """Raise ValueError for a TIFF of tags alone that would be costly to look into; else do nothing."""
    if tags.startswith(_MAGIC) and len(tags) >= _HEADER:
        entries = _entries_within(tags, _first_directory(tags))
        _check_values(entries, most_bytes)
        _check_numbers(entries)


def bytes_of_values(content: bytes) -> int:
    """Return the bytes of all values in a TIFF's first directory, which Pillow copies."""
    return sum(map(_bytes_of, _entries_within(content, _first_directory(content))))


def _numbers(content: bytes, entries: list[_Entry], tag: int) -> list[int]:
    """Return the whole numbers of a tag that are in ``content``; none of another type."""
    found = list[int]()
    for entry in entries:
        if entry.tag == tag and entry.kind in _NUMBERS:
            whole = struct.Struct(_order(content) + _NUMBERS[entry.kind])
            fits = (8 if _is_big(content) else 4) // whole.size
            if entry.numbers <= fits:  # they are where else their place would be
                packed = struct.pack(_order(content) + ("Q" if _is_big(content) else "I"), entry.value)
            else:
                packed = content[entry.value : entry.value + entry.numbers * whole.size]
            found += [number for (number,) in whole.iter_unpack(packed[: len(packed) // whole.size * whole.size])]
            del found[entry.numbers :]
    return found


def _check_frames(content: bytes, entries: list[_Entry]) -> None:
    """Refuse JPEG in a TIFF that is progressive, or in several scans, of which nobody knows how many."""
    if not set(_numbers(content, entries, _COMPRESSION)).intersection(_JPEG):
        return
    places = {place for tag in (_STRIPS, _TILES, _OLD_JPEG) for place in _numbers(content, entries, tag)}
    if len(places) > _MOST_FRAMES:
        raise ValueError(f"more than {_MOST_FRAMES:,} strips of JPEG")
    for place in places:
        if content[place : place + 2] == b"\xff\xd8" and not is_one_scan(content[place : place + _MOST_BEFORE_SCAN]):
            raise ValueError("JPEG in it that is not in one scan")


def _check_numbers(entries: list[_Entry]) -> None:
    if sum(entry.numbers for entry in entries if entry.kind not in _TYPES_AS_BYTES) > _MOST_EXIF_NUMBERS:
        raise ValueError(f"more than {_MOST_EXIF_NUMBERS:,} numbers in its tags")


def _bytes_of(entry: _Entry) -> int:
    return _TYPE_BYTES.get(entry.kind, 0) * entry.numbers


def _check_values(entries: list[_Entry], most_bytes: int) -> None:
    for entry in entries:
        if entry.numbers > _MOST_NUMBERS and entry.kind not in _TYPES_AS_BYTES:
            raise ValueError(f"more than {_MOST_NUMBERS:,} numbers in tag {entry.tag}")
    if sum(map(_bytes_of, entries)) > most_bytes:
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
