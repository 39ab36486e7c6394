"""Any picture, as people have them, becomes the array that the network takes: in one way, everywhere."""

import io
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fmnist_edge_runtime import bounds, picture
from fmnist_edge_runtime.errors import ImageError, printable
from fmnist_edge_runtime.reader import read_picture

MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F"]
relaxed = settings(deadline=None, max_examples=60)


def read(source):
    return read_picture(source, 28, 28, "fmnist").pixels


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def tiff(image):
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    return buffer.getvalue()


@st.composite
def images(draw):
    width, height = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    mode = draw(st.sampled_from(MODES))
    pixels = np.random.default_rng(draw(st.integers(0, 1000))).integers(0, 256, (height, width, 3), np.uint8)
    colour = Image.fromarray(pixels)
    return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else colour.convert(mode)


@relaxed
@given(images())
def test_any_size_and_mode_becomes_28_by_28(image):
    array = read(image)
    assert (array.shape, array.dtype) == ((28, 28), np.uint8)


@relaxed
@given(images())
def test_the_longest_side_fills_the_frame_and_the_rest_is_black(image):
    white = Image.new("L", image.size, 255)
    array = read(white)
    scale = min(28 / image.width, 28 / image.height)
    width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    top, left = (28 - height + 1) // 2, (28 - width + 1) // 2
    expected = np.zeros((28, 28), np.uint8)
    expected[top : top + height, left : left + width] = 255
    assert np.array_equal(array, expected)
    assert 28 in (width, height)


def test_a_picture_of_the_right_size_keeps_every_pixel(sample):
    for image in sample.images[:50]:
        assert np.array_equal(read(png(Image.fromarray(image))), image)


@pytest.mark.parametrize("factor", [2, 3, 10])
def test_an_exact_enlargement_comes_back_exactly(sample, factor):
    for image in sample.images[:20]:
        large = Image.fromarray(image).resize((28 * factor, 28 * factor), Image.Resampling.NEAREST)
        assert np.array_equal(read(large), image)


def test_every_kind_of_source_gives_the_same(sample, tmp_path):
    image = Image.fromarray(sample.images[3]).resize((50, 40))
    content = png(image)
    path = tmp_path / "it.png"
    path.write_bytes(content)
    wanted = read(image)
    for source in (path, str(path), content, bytearray(content), io.BytesIO(content), np.asarray(image)):
        assert np.array_equal(read(source), wanted)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_tag_says(orientation):
    upright = Image.fromarray(np.arange(28 * 28, dtype=np.int64).reshape(28, 28).astype(np.uint8))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL's transpositions that a camera has to have applied
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, "PNG", exif=exif)
    assert np.array_equal(read(buffer.getvalue()), np.asarray(upright))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_black(mode):
    image = Image.new("RGBA", (28, 28), (255, 255, 255, 0))
    image.paste((200, 200, 200, 255), (4, 4, 24, 24))
    content = png(image.quantize() if mode == "P" else image.convert(mode))
    array = read(content)
    assert array[0, 0] == 0
    assert array[14, 14] == 200


def test_a_transparent_colour_is_black_too():
    image = Image.new("RGB", (28, 28), (255, 0, 255))
    image.putpixel((5, 5), (255, 255, 255))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=(255, 0, 255))
    array = read(buffer.getvalue())
    assert (array[0, 0], array[5, 5]) == (0, 255)


def test_sixteen_bits_become_eight():
    deep = np.linspace(0, 65535, 784).astype(np.uint16).reshape(28, 28)
    assert np.array_equal(read(png(Image.fromarray(deep))), np.round(deep / 257).astype(np.uint8))


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
@pytest.mark.parametrize("read_as", ["fmnist", "photo"])
def test_sixteen_bits_are_seen_as_eight_are(mode, read_as):
    grey = np.full((80, 60), 240, np.uint8)
    grey[10:70, 15:45] = np.linspace(30, 120, 60).astype(np.uint8)[:, None]
    deep = grey.astype(np.uint16) * 257
    image = {
        "I": lambda: Image.fromarray(deep.astype(np.int32)),
        "I;16": lambda: Image.fromarray(deep),
        "I;16B": lambda: Image.frombytes("I;16B", (60, 80), deep.astype(">u2").tobytes()),
    }[mode]()
    wanted = read_picture(Image.fromarray(grey), 28, 28, read_as)
    for source in (image, tiff(image)):
        assert np.array_equal(read_picture(source, 28, 28, read_as).views, wanted.views)


def test_a_large_picture_of_sixteen_bits_with_a_transparent_grey_is_seen_as_a_small_one_is():
    small = np.full((28, 28), 60, np.uint8)
    small[5:20, 5:20] = 200
    large = small.repeat(100, 0).repeat(100, 1).astype(np.uint16) * 257
    buffer = io.BytesIO()
    Image.fromarray(large).save(buffer, "PNG", transparency=7)
    assert np.array_equal(read(buffer.getvalue()), small)


def test_premultiplied_grey_is_read_as_grey_with_transparency():
    grey = Image.new("LA", (28, 28), (200, 255))
    assert np.array_equal(read(grey.convert("La")), read(grey))


def test_lightness_of_a_lab_picture_is_its_grey():
    colours = np.zeros((28, 28, 3), np.uint8)
    colours[..., 0] = np.linspace(0, 255, 28)
    array = read(tiff(Image.frombytes("LAB", (28, 28), colours.tobytes())))
    assert (array[0, 0], array[0, -1]) == (0, 255)
    assert (np.diff(array[0].astype(int)) > 0).all()


@pytest.mark.parametrize("largest", [1.0, 255.0])
def test_floats_count_from_0_to_1_or_to_255(largest):
    values = np.linspace(0, largest, 784, dtype=np.float32).reshape(28, 28)
    array = read(Image.fromarray(values))
    assert (array.min(), array.max()) == (0, 255)


@pytest.mark.parametrize("values", [[np.nan] * 4, [-1, 0, 0, 1], [0, 0, 0, 256], [np.inf, 0, 0, 0]])
def test_floats_that_mean_nothing_are_refused(values):
    with pytest.raises(ImageError, match=r"float pixels from .*; scale them to 0 to 1 or to 0 to 255"):
        read(Image.fromarray(np.array(values, np.float32).reshape(2, 2)))


@pytest.mark.parametrize("size", [(1, 1), (1, 10000), (10000, 1)])
def test_extreme_shapes_are_read(size):
    assert read(Image.new("RGB", size, "white")).max() == 255


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"just words", "not an image, or none that can be read; PNG, JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "not an image"),
        (b"BM" + bytes(60), "not an image|damaged"),
    ],
)
def test_what_is_no_picture_is_refused_with_one_line(content, words):
    with pytest.raises(ImageError, match=words) as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_transparency_of_colours_that_are_not_there_is_refused():
    palette = Image.new("P", (60, 60), 3)
    palette.putpalette(bytes(range(256)) * 3)
    content = io.BytesIO()
    palette.save(content, "png", transparency=b"\x01" * 256)
    longer = content.getvalue().replace(b"\x00\x00\x01\x00tRNS", b"\x00\x00\x01\x01tRNS", 1)
    at = longer.index(b"tRNS") + 4
    chunk = b"tRNS" + b"\x01" * 257
    damaged = longer[: at - 4] + chunk + zlib.crc32(chunk).to_bytes(4) + longer[at + 256 + 4 :]
    grey = Image.new("L", (60, 60))
    grey.info["transparency"] = b"\x01" * 60
    for source in (damaged, grey):
        for way in ("auto", "photo", "fmnist"):
            with pytest.raises(ImageError, match="a damaged or truncated image"):
                read_picture(source, 28, 28, way)


def test_paths_that_cannot_be_read_are_named(tmp_path):
    for path in (tmp_path / "missing.png", tmp_path, "zero\0byte.png", "two\nlines.png", "\x1b[31mred.png"):
        with pytest.raises(ImageError, match="cannot be read") as caught:
            read(path)
        assert printable(str(path)) in str(caught.value)
        assert str(caught.value).isprintable(), "one line, and nothing that a terminal acts upon"


def test_an_empty_path_is_named_too():
    with pytest.raises(ImageError, match=r"^an empty path: cannot be read \("):
        read("")


class Ajar:
    """A file that gives something else than bytes."""

    def read(self, count=-1):
        return [count]


class Asynchronous:
    async def read(self, _=-1):
        return b""


class Endless:
    """Gives the same again and again, however much it is asked for."""

    def read(self, _=-1):
        return b"x" * 70_000


class Homeless:
    """A path that has none to give."""

    def __fspath__(self):
        raise OSError(2, "nowhere")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((28, 28)), r"float64 \[28, 28\]: not uint8"),
        (np.zeros((2, 28, 28), np.uint8), r"not \[H, W\]"),
        (np.zeros((0, 28), np.uint8), "has no pixels"),
        (io.StringIO("text"), r"read\(\) gives a str, not bytes; open it in binary mode"),
        (Ajar(), r"read\(\) gives a list"),
        (Asynchronous(), r"read\(\) is asynchronous; give what it gives when it is awaited"),
        (Endless(), "larger than 64 MiB; make it smaller"),
        (Homeless(), r"a path: cannot be read \(nowhere\)"),
        (17, "a int is no picture"),
        (None, "a NoneType is no picture"),
    ],
)
def test_other_things_are_refused_with_what_to_give_instead(source, words):
    with pytest.raises(ImageError, match=words):
        read(source)


@pytest.mark.parametrize("given_as", [bytearray, memoryview])
def test_bytes_that_are_too_many_are_refused_before_they_are_copied(given_as):
    many = bytearray(picture.MOST_FILE_BYTES + 1)
    given = many if given_as is bytearray else memoryview(many)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="the picture given as bytes: larger than 64 MiB; make it smaller"):
            read(given)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch):
    content = png(Image.new("L", (300, 300)))
    monkeypatch.setattr(bounds, "MOST_PIXELS", 80_000)
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="300 x 300 is more than 80,000 pixels; make it smaller"):
        read(content)


def test_a_file_is_read_no_further_than_its_limit(monkeypatch):
    monkeypatch.setattr(picture, "MOST_FILE_BYTES", 100_000)
    asked = []

    class Endless:
        def read(self, count):
            asked.append(count)
            return bytes(count)

    with pytest.raises(ImageError, match="larger than"):
        read(Endless())
    assert sum(asked) == 100_001


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_comes_in_small_pieces_is_read_to_its_end(sample, kind):
    class Pipe(io.BytesIO):
        def read(self, count):
            return kind(super().read(min(count, 50)))

    assert np.array_equal(read(Pipe(png(Image.fromarray(sample.images[0])))), sample.images[0])


def test_what_has_nothing_to_read_yet_is_not_taken_for_its_end(sample):
    class NotBlocking(io.BytesIO):
        def read(self, count):
            return super().read(min(count, 50)) if self.tell() < 100 else None

    with pytest.raises(ImageError, match="has nothing to read yet; open it in blocking mode"):
        read(NotBlocking(png(Image.fromarray(sample.images[0]))))


def test_small_pieces_take_no_more_memory_than_what_is_in_them():
    class Trickle:
        left = 200_000

        def read(self, _):
            self.left -= 1
            return b"x" if self.left >= 0 else b""

    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="not an image"):
            read(Trickle())
        assert tracemalloc.get_traced_memory()[1] < 4 * 200_000
    finally:
        tracemalloc.stop()


def test_a_file_in_text_mode_is_refused_with_what_to_do(tmp_path, sample):
    path = tmp_path / "picture.png"
    path.write_bytes(png(Image.fromarray(sample.images[0])))
    with path.open(encoding="utf-8") as file, pytest.raises(ImageError, match="opened as text; open it in binary"):
        read(file)


def test_a_file_that_fails_or_is_closed_is_no_picture():
    class Failing:
        def read(self, _):
            raise OSError(5, "Input/output error")

    class Broken:
        def read(self, _):
            raise RuntimeError("no stream\nat all")

    closed = io.BytesIO()
    closed.close()
    for source, words in (
        (Failing(), "Input/output error"),
        (Broken(), "no stream"),
        (closed, "closed file"),
    ):
        with pytest.raises(ImageError, match=f"cannot be read.*{words}") as caught:
            read(source)
        assert "\n" not in str(caught.value)


@relaxed
@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\0", b"RIFF", b"P5\n"]),
    st.binary(),
)
@pytest.mark.filterwarnings("ignore")
def test_a_header_followed_by_anything_is_refused_or_read(header, rest):
    try:
        assert read(header + rest).shape == (28, 28)
    except ImageError as error:
        assert str(error)  # noqa: PT017 - both outcomes are right


def test_a_pil_image_of_too_many_pixels_is_refused(monkeypatch):
    monkeypatch.setattr(picture, "MOST_PIXELS", 80_000)
    with pytest.raises(ImageError, match="a PIL image: 300 x 300 is more than 80,000 pixels; make it smaller"):
        read_picture(Image.new("L", (300, 300)), 28, 28)


def test_a_file_of_more_than_64_mib_is_refused():
    with pytest.raises(ImageError, match="larger than 64 MiB; make it smaller"):
        read_picture(bytes(64 * 2**20 + 1), 28, 28)
