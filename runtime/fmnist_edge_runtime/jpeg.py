"""What stands before and between the scans of a JPEG: how many there are, and what is refused.

Sections are those of ITU-T T.81.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_MOST_PARTS = 100_000  # segments, and other markers, before the first scan
_MOST_PASSED_OVER = 2**20  # bytes between those segments, which Pillow goes through one by one
_MOST_COPIED = 8 * 2**20  # bytes before the first scan, of which Pillow keeps copies
_MOST_EXIF_PARTS = 64  # which Pillow joins, copying what it has each time
_MOST_RESOURCES = 64  # segments of Photoshop's, of whose parts Pillow makes a dictionary
_MOST_INDEX_BYTES = 2**16  # of the list of the pictures in the file (MPF): the most that a segment holds
_LONGEST_FRAME_HEADER = 8 + 3 * 4  # bytes, of four components (B.2.2)

_EXIF, _INDEX = b"Exif\0\0", b"MPF\0"
_PADDING, _STUFFING, _END = 0xFF, 0x00, -1
_WITHOUT_LENGTH = (_PADDING, _STUFFING, 0x01, *range(0xD0, 0xDA))  # markers that stand alone (B.1.1.3)
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_SEQUENTIAL = (0xC0, 0xC1)  # baseline and extended
_FRAMES_READ = (*_SEQUENTIAL, 0xC2)  # and progressive: all by Huffman codes
_END_OF_IMAGE, _START_OF_SCAN, _APP1, _APP2, _APP13 = 0xD9, 0xDA, 0xE1, 0xE2, 0xED
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # behind the data of a scan


class Marker(NamedTuple):
    """The byte behind 0xFF, where its segment's length stands, and how many bytes were passed over to it."""

    kind: int
    start: int
    passed_over: int


def markers(content: bytes) -> Iterator[Marker]:
    """Yield what stands in a JPEG up to its first scan, or its end, as Pillow and libjpeg go through it.

    Between two segments anything is passed over; some markers stand alone.
    """
    at = 2
    while True:
        found = content.find(b"\xff", at)
        found = len(content) if found < 0 else found
        kind = content[found + 1] if found + 1 < len(content) else _END
        yield Marker(kind, found + 2, found - at)
        if kind in (_START_OF_SCAN, _END):
            return
        at = found + (1 if kind == _PADDING else 2)
        if kind not in _WITHOUT_LENGTH:
            at = _behind(content, at)


def is_one_scan(content: bytes) -> bool:
    """Tell whether all components come in the first scan: then it is the last, and is decoded line by line."""
    components = b""
    for kind, start, _ in markers(content):
        if kind in _SEQUENTIAL:
            components = content[start + 7 : start + 8]
        elif kind == _START_OF_SCAN:
            return components != b"" and content[start + 2 : start + 3] == components
    return False


def count_scans(content: bytes) -> int:
    """Return how many scans there are before the end of the image; what is behind it, as a film, is none of it."""
    *_, (kind, at, _) = markers(content)
    scans = 0
    while kind not in (_END, _END_OF_IMAGE):
        scans += kind == _START_OF_SCAN
        found = _NEXT_MARKER.search(content, at if kind in _WITHOUT_LENGTH else _behind(content, at))
        kind, at = (content[found.end() - 1], found.end()) if found else (_END, at)
    return scans


def refuse_hostile_jpeg(content: bytes) -> None:
    """Raise ValueError for a JPEG that would be costly to open, or that is coded as few decoders can; else do nothing.

    libjpeg goes on with arithmetic codes behind the end of a file, and some versions of Pillow crash at lossless ones.
    """
    passed_over, frames, resources, exif = 0, 0, 0, list[bytes]()
    for number, (kind, start, before) in enumerate(markers(content)):
        passed_over += before
        frames += kind in _FRAMES
        resources += kind == _APP13
        if kind in _FRAMES and kind not in _FRAMES_READ:
            raise ValueError("a lossless, hierarchical or arithmetic-coded JPEG, which is not read")
        if frames > 1 or (kind in _FRAMES and _behind(content, start) - start > _LONGEST_FRAME_HEADER):
            raise ValueError("more than one frame header, or one of too many components")
        if resources > _MOST_RESOURCES:
            raise ValueError(f"more than {_MOST_RESOURCES} segments of resources")
        if passed_over > _MOST_PASSED_OVER:
            raise ValueError(f"more than {_MOST_PASSED_OVER // 2**20} MiB between its segments")
        if number == _MOST_PARTS:
            raise ValueError(f"more than {_MOST_PARTS:,} segments")
        if start > _MOST_COPIED:
            raise ValueError(f"more than {_MOST_COPIED // 2**20} MiB beside its pixels")
        if kind == _APP1 and content.startswith(_EXIF, start + 2):
            exif.append(_segment(content, start)[len(_EXIF) :])
            if len(exif) > _MOST_EXIF_PARTS:
                raise ValueError(f"more than {_MOST_EXIF_PARTS} parts of Exif data")
        elif kind == _APP2 and content.startswith(_INDEX, start + 2):
            from fmnist_edge_runtime.tiff import refuse_hostile_tags  # not for every start

            refuse_hostile_tags(_segment(content, start)[len(_INDEX) :], _MOST_INDEX_BYTES)
    if exif:
        from fmnist_edge_runtime.tiff import refuse_hostile_exif  # as above

        refuse_hostile_exif(b"".join(exif))  # as Pillow joins them


def _segment(content: bytes, start: int) -> bytes:
    return content[start + 2 : _behind(content, start)]


def _behind(content: bytes, start: int) -> int:
    return start + max(2, int.from_bytes(content[start : start + 2], "big"))
