"""The tags of a TIFF, of which Pillow makes an object for each number as soon as it opens one; Exif data are a TIFF."""

import contextlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

_MOST_STRIPS = 100_000  # or tiles
_MOST_NUMBERS = 200_000  # in one tag; three curves of 16 bits are the largest that the format knows
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TYPES_AS_BYTES = (1, 2, 7)  # BYTE, ASCII and UNDEFINED, which stay as they are
_STRIPS, _TILES = 273, 324
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
    for tag in _DIRECTORIES:
        places = [entry.value for entry in entries if entry.tag == tag]
        if len(places) > 1:
            raise ValueError("a tag twice")
        entries += _entries_within(content, *places) if places else []
    _check_values(entries, len(content))


def refuse_hostile_tags(exif: bytes, most_bytes: int) -> None:
    """Raise ValueError for Exif data, a TIFF of tags alone, that would be costly to look into; else do nothing."""
    if len(exif) >= _HEADER:
        _check_values(_entries_within(exif, _first_directory(exif)), most_bytes)


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
