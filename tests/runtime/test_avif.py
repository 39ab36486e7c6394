"""What an AVIF takes is read from its AV1 data, whatever the boxes around it say and wherever they keep it."""

import base64
import contextlib
import io
import itertools
import struct

import numpy as np
import pytest
from bombs import HAS_AVIF, box, boxes, exif_of_one_place, lying_avif
from PIL import Image

from fmnist_edge_runtime.av1 import Frame, frames
from fmnist_edge_runtime.avif import _picture_cost, decoding_bytes
from fmnist_edge_runtime.errors import ImageError
from fmnist_edge_runtime.reader import read_picture

needs_avif = pytest.mark.skipif(not HAS_AVIF, reason="this Pillow has no AVIF")
SIDE = 256  # whole superblocks, so that the bytes of a frame are those of its pixels

# Made by libavif's avifenc, for Pillow writes 8 bits alone: flat pictures, 256 x 192, and a grid of four tiles.
OF_10_BITS = """
AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADybWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAGxp
YmF2aWYAAAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABGgAAADUAAAAoaWluZgAAAAAAAQAAABppbmZlAgAAAAAB
AABhdjAxQ29sb3IAAAAAamlwcnAAAABLaXBjbwAAABRpc3BlAAAAAAAAAQAAAADAAAAAEHBpeGkAAAAAAwoKCgAAAAxhdjFDgQBMAAAA
ABNjb2xybmNseAABAA0ABoAAAAAXaXBtYQAAAAAAAAABAAEEAQKDBAAAAD1tZGF0EgAKChgd/+/YoCGg0IAyJRGQAkkkkQDBtj9b7Pnv
jlIROWYr0BELuQ+31jcixN1qtGnDAnA=
"""
OF_12_BITS = """
AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAPJtZXRhAAAAAAAAAChoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAbGliYXZp
ZgAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAEWAAAAPAAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEAAGF2
MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAABAAAAAMAAAAAQcGl4aQAAAAADDAwMAAAADGF2MUOBQGAAAAAAE2Nv
bHJuY2x4AAEADQAGgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAARG1kYXQSAAoKWB3/79jQENBogDIsEZACSSSRAMMwzYPYN+wc8ZgK
n2GuoHXs6/rZLgQG0kjeuuyM9lvhOmvbTt4=
"""
GRID = """
AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAAHhbWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAGxp
YmF2aWYAAAAADnBpdG0AAAAAAAEAAABWaWxvYwAAAABEAAAFAAEAAAABAAACCQAAAAgAAgAAAAEAAAIRAAAALAADAAAAAQAAAhEAAAAs
AAQAAAABAAACEQAAACwABQAAAAEAAAIRAAAALAAAAJBpaW5mAAAAAAAFAAAAGmluZmUCAAAAAAEAAGdyaWRDb2xvcgAAAAAaaW5mZQIA
AAEAAgAAYXYwMUNvbG9yAAAAABppbmZlAgAAAQADAABhdjAxQ29sb3IAAAAAGmluZmUCAAABAAQAAGF2MDFDb2xvcgAAAAAaaW5mZQIA
AAEABQAAYXYwMUNvbG9yAAAAACBpcmVmAAAAAAAAABRkaW1nAAEABAACAAMABAAFAAAAmWlwcnAAAABfaXBjbwAAABRpc3BlAAAAAAAA
AQAAAAEAAAAAEHBpeGkAAAAAAwgICAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAACAAAAAgAAAAAxhdjFDgSAAAAAAADJp
cG1hAAAAAAAAAAUAAQMBAgMAAgQEAoUDAAMEBAKFAwAEBAQChQMABQQEAoUDAAAAPG1kYXQAAAEBAQABABIACgk4Gb//YQENBpAyHRGQ
AYYYYQDBtj9by0aR0iAYMByaulmrOgfnfh2A
"""


def saved(mode="RGB", **options):
    buffer = io.BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(buffer, "AVIF", speed=10, **options)
    return buffer.getvalue()


def animation(mode):
    return saved(mode, save_all=True, append_images=[Image.new(mode, (SIDE, SIDE), "white")] * 2)


def of_frames(bytes_a_pixel, side=SIDE):
    """The bytes for frames of so many bytes a pixel in all, twice, and for Pillow's pictures of the same size."""
    return round((2 * bytes_a_pixel + 8) * side * side)


@needs_avif
def test_exif_data_are_looked_at_before_the_picture_is_opened(monkeypatch):
    costly = exif_of_one_place(500, 15_000)
    content = saved(exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + bytes(len(costly) - 14))
    at = content.index(b"II*\0")
    content = content[:at] + costly + content[at + len(costly) :]
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ImageError, match="its tags hold more than they can"):
        read_picture(content, 28, 28)


@needs_avif
@pytest.mark.parametrize(
    ("mode", "options", "bytes_a_pixel"),
    [
        ("L", {}, 1),
        ("RGB", {}, 1.5),
        ("RGB", {"subsampling": "4:2:2"}, 3),  # reckoned as 4:4:4, for all of its profile are
        ("RGB", {"subsampling": "4:4:4"}, 3),
        ("RGBA", {}, 2.5),
        ("RGBA", {"subsampling": "4:4:4"}, 4),
        ("RGB", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", "xmp": b"<x/>", "icc_profile": bytes(999)}, 1.5),
    ],
)
def test_an_honest_avif_is_reckoned_by_its_pixels_and_planes(mode, options, bytes_a_pixel):
    assert decoding_bytes(saved(mode, **options)) == of_frames(bytes_a_pixel)


@needs_avif
@pytest.mark.parametrize(("mode", "bytes_a_pixel"), [("L", 1), ("RGB", 1.5), ("RGBA", 2.5)])
def test_of_an_animation_the_first_frame_is_reckoned(mode, bytes_a_pixel):
    assert decoding_bytes(animation(mode)) == of_frames(bytes_a_pixel)
    assert read_picture(animation(mode), 28, 28).read_as == "photo"


@needs_avif
@pytest.mark.parametrize(
    ("text", "needed"),
    [
        (OF_10_BITS, 8 * 256 * 192 + 2 * 256 * 256 * 3),  # frames take whole superblocks
        (OF_12_BITS, 8 * 256 * 192 + 2 * 256 * 256 * 6),
        (GRID, of_frames(3)),
    ],
)
def test_deep_colours_and_grids_are_reckoned_and_read(text, needed):
    content = base64.b64decode(text)
    assert decoding_bytes(content) == needed
    assert read_picture(content, 28, 28).read_as == "photo"


@needs_avif
def test_a_frame_of_the_claimed_size_does_not_hide_that_a_deeper_one_is_scaled_to_it():
    grey, deep = saved("L"), base64.b64decode(OF_12_BITS)
    units = b"".join(content[content.index(b"mdat") + 4 :] for content in (grey, deep))
    assert _picture_cost(units, [(SIDE, SIDE)]) == 2 * (1 + 6 + 6) * SIDE**2


@needs_avif
@pytest.mark.parametrize("content", [saved, lambda: saved("RGBA"), lambda: animation("RGBA")])
def test_no_claim_makes_it_cheaper_than_its_frames(content):
    honest, lie = content(), lying_avif(content(), 16)
    assert lie != honest
    assert decoding_bytes(lie) > decoding_bytes(honest) - 8 * SIDE * SIDE


@needs_avif
def test_a_claim_of_more_than_the_frame_counts_what_is_scaled_to_it():
    side = 4 * SIDE
    assert decoding_bytes(lying_avif(saved(), side)) == of_frames(1.5, side) + 2 * round(1.5 * SIDE * SIDE)


def test_a_grid_counts_by_the_size_in_its_own_data():
    content = base64.b64decode(GRID)
    lie = content.replace(struct.pack(">BBBBHH", 0, 0, 1, 1, 256, 256), struct.pack(">BBBBHH", 0, 0, 1, 1, 999, 999))
    assert decoding_bytes(lie) - decoding_bytes(content) == 8 * (999**2 - 256**2)


def moved(content, version, method, parts):
    """``content``, a picture alone, with its data told by an iloc of this version, by this method, in so many parts."""
    outer = boxes(content)
    inner = boxes(outer[b"meta"][4:])
    data, cuts = outer[b"mdat"], np.linspace(0, len(outer[b"mdat"]), parts + 1).astype(int).tolist()

    def whole(start):
        number = struct.pack(">I" if version == 2 else ">H", 1)
        places = [struct.pack(">II", cut, end - cut) for cut, end in itertools.pairwise(cuts)]
        how = struct.pack(">H", method) if version else b""
        item = number + how + struct.pack(">HIH", 0, start, parts) + b"".join(places)
        inner[b"iloc"] = bytes((version, 0, 0, 0, 0x44, 0x40)) + number + item
        kept = {b"idat": data} if method else {}
        meta = bytes(4) + b"".join(box(*pair) for pair in {**inner, **kept}.items())
        return box(b"ftyp", outer[b"ftyp"]) + box(b"meta", meta) + (b"" if method else box(b"mdat", data))

    return whole(0 if method else len(whole(0)) - len(data))


@needs_avif
@pytest.mark.parametrize(("version", "method"), [(0, 0), (1, 0), (2, 0), (1, 1), (2, 1)])
@pytest.mark.parametrize("parts", [1, 3])
def test_the_data_is_found_wherever_it_is(version, method, parts):
    content = moved(saved(), version, method, parts)
    joined = len(boxes(saved())[b"mdat"]) if parts > 1 else 0
    assert decoding_bytes(content) == of_frames(1.5) + joined
    assert Image.open(io.BytesIO(content)).convert("L").size == (SIDE, SIDE)  # libavif finds it as well


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda inner: {**inner, b"iloc": b"\3" + inner[b"iloc"][1:]}, "not where they should be"),
        (lambda inner: {**inner, b"iloc": inner[b"iloc"][:4] + b"\x40" + inner[b"iloc"][5:]}, "not where they should"),
        (lambda inner: {**inner, b"iloc": inner[b"iloc"][:-4] + b"\0\0\0\0"}, "an item is empty"),
        (lambda inner: {**inner, b"iloc": inner[b"iloc"][:-4] + b"\1\0\0\0"}, "beyond its end"),
        (lambda inner: {**inner, b"iloc": inner[b"iloc"][:-5]}, "a header ends too soon"),
        (lambda inner: {**inner, b"iref": bytes(70_000)}, "more in its boxes than a picture needs"),
        (
            lambda inner: {**inner, b"iprp": box(b"ipco", bytes(2**23 + 1)) + box(b"ipma", bytes(8))},
            "that are no picture",
        ),
    ],
)
def test_boxes_that_are_wrong_are_refused(change, words):
    outer = boxes(base64.b64decode(OF_10_BITS))
    meta = b"".join(box(*pair) for pair in change(boxes(outer[b"meta"][4:])).items())
    content = b"".join(box(*pair) for pair in {**outer, b"meta": bytes(4) + meta}.items())
    with pytest.raises(ValueError, match=words):
        decoding_bytes(content)
    with pytest.raises(ImageError, match=f"damaged or truncated image .*{words}"):
        read_picture(content, 28, 28)


@pytest.mark.parametrize(("kind", "again"), [(b"meta", 1), (b"moov", 2)])
def test_what_may_come_once_is_refused_twice(kind, again):
    content = base64.b64decode(OF_10_BITS)
    with pytest.raises(ValueError, match=f"2 boxes where one is allowed .{kind.decode()}"):
        decoding_bytes(content + again * box(kind, bytes(4)))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (box(b"mini", bytes(9)), "a MinimizedImageBox"),
        (box(b"moov", bytes(2**20 + 1)), "more in its boxes"),
        (box(b"moov", box(b"trak", b"") * 17), "more than 16 tracks"),
        (box(b"free", b"") * 5_000, "more in its boxes"),
        (struct.pack(">I4s", 9_999, b"free"), "longer than what it is in"),
        (struct.pack(">I4s", 7, b"free"), "longer than what it is in"),
    ],
)
def test_what_no_picture_needs_is_refused(more, words):
    with pytest.raises(ValueError, match=words):
        decoding_bytes(base64.b64decode(OF_10_BITS) + more)


def test_flipped_bits_give_a_number_or_a_value_error():
    rng = np.random.default_rng(0)
    for text in (OF_10_BITS, OF_12_BITS, GRID):
        content = base64.b64decode(text)
        for _ in range(500):
            changed = bytearray(content)
            for position in rng.integers(0, 8 * len(content), rng.integers(1, 5)).tolist():
                changed[position // 8] ^= 1 << position % 8
            with contextlib.suppress(ValueError):
                assert decoding_bytes(bytes(changed)) >= 0


def unit(kind, *fields):
    """A unit of AV1 of fields ``(value, bits)``."""
    bits = "".join(f"{value:0{width}b}" if width else "" for value, width in fields) + "1"
    content = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    return bytes((kind << 3 | 2, len(content))) + content


SEQUENCE, HEADER, FRAME, HEADER_AGAIN, PADDING = 1, 3, 6, 7, 15
REDUCED = ((0, 3), (1, 1), (1, 1), (0, 5))
PLAIN = ((0, 3), (0, 1), (0, 1), (0, 1), (0, 1), (0, 5), (0, 12), (4, 5))
TIMED = ((0, 3), (0, 1), (0, 1), (1, 1), (1, 32), (30, 32), (0, 1), (1, 1), (9, 5), (1, 32), (4, 5), (6, 5), (1, 1))
TIMED += ((1, 5), (0, 12), (9, 5), (1, 1), (1, 1), (5, 10), (6, 10), (0, 1), (1, 1), (3, 4))
TIMED += ((0, 12), (2, 5), (0, 1), (0, 1))
EVEN = (
    (0, 3),
    (0, 1),
    (0, 1),
    (1, 1),
    (1, 32),
    (30, 32),
    (1, 1),
    (0b00101, 5),
    (0, 1),
    (0, 1),
    (0, 5),
    (0, 12),
    (4, 5),
)
SIZE = ((9, 4), (8, 4), (599, 10), (299, 9))  # 600 x 300, of at most 1,024 x 512
TOOLS = ((0, 3), (0, 4), (1, 1), (0, 2), (1, 1), (1, 1), (6, 3), (0, 3))
FIXED_TOOLS = ((0, 3), (0, 4), (0, 1), (0, 1), (0, 1), (0, 3))
COLOURS = ((0, 1), (0, 1), (0, 1))
KEY = ((0, 1), (0, 2), (1, 1))  # not shown again, a key frame, shown


@pytest.mark.parametrize(("own", "shape"), [(0, (600, 300)), (1, (1024, 512))])
@pytest.mark.parametrize(
    ("sequence", "before"),
    [
        ((*PLAIN, *SIZE, (0, 1), *TOOLS), (*KEY, (0, 1), (0, 1))),
        ((*PLAIN, *SIZE, (0, 1), *TOOLS), (*KEY, (0, 1), (1, 1), (0, 1))),
        ((*PLAIN, *SIZE, (0, 1), *TOOLS), ((0, 1), (1, 2), (0, 1), (1, 1), (0, 1), (0, 1), (0, 1))),
        ((*PLAIN, *SIZE, (0, 1), *FIXED_TOOLS), (*KEY, (0, 1))),
        ((*PLAIN, *SIZE, (1, 1), (13, 4), (2, 3), *FIXED_TOOLS), (*KEY, (0, 1), (77, 18))),
        ((*TIMED, *SIZE, (0, 1), *FIXED_TOOLS), (*KEY, (9, 7), (0, 1))),
        ((*EVEN, *SIZE, (0, 1), *FIXED_TOOLS), (*KEY, (0, 1))),
    ],
)
def test_a_frame_that_asks_for_its_own_size_counts_with_the_largest_it_could_ask_for(sequence, before, own, shape):
    """Decoders are to hold it to the sequence's size (AV1 6.8.4); not all do."""
    data = unit(SEQUENCE, *sequence, *COLOURS)
    for kind in (HEADER, FRAME, HEADER_AGAIN):
        assert list(frames(data + unit(kind, *before, (own, 1), (0, 40)))) == [Frame(*shape, 1.5)]


def test_a_switch_frame_has_its_own_size():
    data = unit(SEQUENCE, *PLAIN, *SIZE, (0, 1), *FIXED_TOOLS, *COLOURS) + unit(FRAME, (0, 1), (3, 2), (1, 1), (0, 40))
    assert list(frames(data)) == [Frame(1024, 512, 1.5)]


def test_each_frame_counts_with_the_sequence_header_before_it():
    small = unit(SEQUENCE, *REDUCED, (3, 4), (3, 4), (9, 4), (7, 4), (0, 3), (0, 3), *COLOURS)
    large = unit(SEQUENCE, *REDUCED, *SIZE, (0, 3), (0, 3), *COLOURS)
    frame, padding = unit(FRAME, (0, 40)), unit(PADDING, (0, 40))
    found = list(frames(small + frame + padding + large + frame + frame))
    assert found == [Frame(10, 8, 1.5), Frame(600, 300, 1.5), Frame(600, 300, 1.5)]


def test_a_unit_without_a_size_reaches_to_the_end():
    large = unit(SEQUENCE, *REDUCED, *SIZE, (0, 3), (0, 3), *COLOURS)
    frame = unit(FRAME, (0, 40))
    assert list(frames(large + bytes([FRAME << 3]) + frame)) == [Frame(600, 300, 1.5)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (unit(FRAME, (0, 40)), "before any sequence header"),
        (unit(PADDING, (0, 40))[:-1], "longer than its picture"),
        (bytes([PADDING << 3 | 2]) + b"\xff" * 9, "without an end"),
        (unit(SEQUENCE, *REDUCED, *SIZE), "ends too soon"),
        (unit(SEQUENCE, (0, 5), (1, 1), (0, 64), (1, 1), (0, 99)), "without an end"),
        (unit(PADDING, (0, 8)) * 101, "more than 100 units"),
    ],
)
def test_data_that_is_not_av1_is_refused(data, words):
    with pytest.raises(ValueError, match=words):
        list(frames(data))


def test_a_narrow_frame_counts_with_the_superblocks_it_takes():
    assert Frame(1, 65_536, 1).bytes == 128 * 65_536
