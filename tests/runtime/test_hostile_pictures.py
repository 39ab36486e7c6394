"""Pictures made to do harm: other decoders, much memory, much time. docs/reliability.md has the figures."""

import contextlib
import io
import struct
import subprocess
import sys
import warnings

import bombs
import numpy as np
import pytest
from PIL import Image

from fmnist_edge_runtime import picture, shrink
from fmnist_edge_runtime.errors import ImageError
from fmnist_edge_runtime.fmnist_form import to_grey
from fmnist_edge_runtime.reader import read_picture

LIMIT = 200_000_000
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak memory of a process alone")


def read(source):
    return read_picture(source, 28, 28)


def cost_of(content, tmp_path):
    (tmp_path / "bomb").write_bytes(content)
    return bombs.cost_in_a_process(tmp_path / "bomb")


@only_linux
@pytest.mark.parametrize("name", bombs.LARGEST)
def test_the_largest_pictures_that_are_read_cost_less_than_200_mb(name, tmp_path):
    seen = cost_of(bombs.LARGEST[name](), tmp_path)
    assert seen["answer"] == "read as photo"
    assert seen["memory"] < LIMIT


@only_linux
@pytest.mark.parametrize("name", bombs.REFUSED)
def test_bombs_are_refused_and_cost_less_than_200_mb(name, tmp_path):
    seen = cost_of(bombs.REFUSED[name](), tmp_path)
    assert not seen["answer"].startswith("read as")
    assert seen["memory"] < LIMIT


AVIF_BOMBS = ("AVIF, 52 Mpx, 64 x 64 claimed", "AVIF, 20 million parts") if bombs.HAS_AVIF else ()


@only_linux
@pytest.mark.parametrize(
    ("name", "check"),
    [("TIFF, a tile of 20,000 x 20,000", "too_costly"), *((name, "too_costly_avif") for name in AVIF_BOMBS)],
)
def test_the_measurement_sees_what_a_bomb_would_cost(name, check, tmp_path):
    (tmp_path / "bomb").write_bytes(bombs.REFUSED[name]())
    unbounded = f"from fmnist_edge_runtime import picture; picture.{check} = lambda *_: None; "
    code = f"{unbounded}import runpy; runpy.run_path({bombs.__file__!r}, run_name='__main__')"
    command = [sys.executable, "-c", code, str(tmp_path / "bomb")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout.split('"memory": ')[1].split(",")[0]) > LIMIT


OTHERS = {
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    "EPS with a preview": b"\xc5\xd0\xd3\xc6" + (30).to_bytes(4, "little") + bytes(22) + b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "PostScript": b"%!PS-Adobe-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "PDF": b"%PDF-1.7\n",
    "WMF": b"\xd7\xcd\xc6\x9a\0\0" + bytes(60),
    "FITS": b"SIMPLE  =                    T".ljust(2880),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(60),
    "PSD": b"8BPS\0\1" + bytes(60),
}


@pytest.fixture(scope="module")
def written():
    """A picture in each format that Pillow writes and this kit does not read."""
    Image.init()
    pictures = {}
    for kind in sorted(set(Image.SAVE) - set(picture._FORMATS)):
        for mode in ("RGB", "L", "1", "F"):
            buffer = io.BytesIO()
            # Some write other modes, some need a library, some are on their way out of Pillow.
            with warnings.catch_warnings(action="ignore"), contextlib.suppress(OSError, ValueError, RuntimeError):
                Image.new(mode, (32, 32)).save(buffer, kind)
                pictures[kind] = buffer.getvalue()
                break
    return pictures


def test_every_other_format_is_refused_without_another_program(written, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("another program was started"))
    assert {"EPS", "PDF", "TGA", "ICO"} <= written.keys()
    for name, content in {**written, **OTHERS}.items():
        with pytest.raises(ImageError, match="not an image, or none that can be read; PNG, JPEG"):
            assert read(content) is None, name


@pytest.mark.parametrize("kind", ["EPS", "TGA"])
def test_a_pil_image_of_another_format_is_refused_before_it_is_decoded(kind, written, monkeypatch):
    opened = Image.open(io.BytesIO(written[kind]))
    monkeypatch.setattr(type(opened), "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=f"a PIL image from a {kind} file: .* give its copy"):
        read(opened)


def test_a_copy_of_a_pil_image_of_another_format_is_read(written):
    opened = Image.open(io.BytesIO(written["TGA"]))
    assert read(opened.copy()).pixels.shape == (28, 28)


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("width", "height"), [(300, 420), (401, 299), (1, 200_000), (200_000, 1)])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F"])
def test_strip_by_strip_a_picture_is_shrunk_as_it_would_be_in_one(mode, width, height, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
    colour = Image.fromarray(pixels if mode in ("LA", "RGBA") else pixels[..., :3])
    image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else colour.convert(mode)
    monkeypatch.setattr(shrink, "_STRIP_PIXELS", 5_000)
    small = shrink.shrunk(shrink.floats_to_grey(image) if mode == "F" else image, width * height // 5)
    grey = Image.fromarray(np.asarray(image).round().astype(np.uint8)) if mode == "F" else to_grey(image)
    whole = {"P": "RGB", "RGB": "RGB", "CMYK": "RGB", "LA": "RGBA", "RGBA": "RGBA"}
    wanted = image.convert(whole[mode]) if mode in whole else grey
    assert small.mode == wanted.mode
    assert np.array_equal(np.asarray(small), np.asarray(wanted.reduce(3)))


def test_what_is_transparent_stays_so_when_a_picture_is_shrunk(monkeypatch):
    image = Image.new("RGBA", (400, 400), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (100, 100, 300, 300))
    monkeypatch.setattr(picture, "MOST_KEPT_PIXELS", 10_000)
    small = picture.open_picture(saved(image.quantize()))
    assert (small.mode, small.size) == ("RGBA", (100, 100))
    assert (small.getpixel((5, 5))[3], small.getpixel((50, 50))[3]) == (0, 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_a_picture_that_is_shrunk_is_turned_all_the_same(kind, monkeypatch):
    image = Image.new("RGB", (200, 400))
    image.paste("white", (0, 0, 200, 100))  # stored upside down: the tag says to turn it by 180 degrees
    exif = Image.Exif()
    exif[0x0112] = 3
    monkeypatch.setattr(picture, "MOST_KEPT_PIXELS", 10_000)
    small = picture.open_picture(saved(image, kind, exif=exif))
    assert small.width * 2 == small.height
    assert small.convert("L").getpixel((small.width // 2, small.height - 3)) == 255
    assert small.convert("L").getpixel((small.width // 2, 3)) == 0


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_data_of_more_than_a_megabyte_are_refused_in_words(kind):
    content = saved(Image.new("RGB", (60, 60)), kind, exif=b"Exif\0\0" + bombs.exif(600_000))
    with pytest.raises(ImageError, match="more than 1 MiB of Exif data"):
        read(content)


def before_tables(content, more):
    return content.replace(b"\xff\xdb", more + b"\xff\xdb", 1)


def test_padding_before_a_marker_hides_no_exif_data():
    padded = b"\xff" + bombs.jpeg_segment(0xE1, b"Exif\0\0" + bytes(10))
    with pytest.raises(ImageError, match="more than 64 parts of Exif data"):
        read(before_tables(bombs.saved("JPEG", "RGB", 60), padded * 65))


def test_nor_does_it_make_a_large_jpeg_one_of_many_scans():
    content = bombs.LARGEST["JPEG, 50 Mpx"]()
    assert read(content.replace(b"\xff\xda", b"\xff\xff\xff\xda", 1)).read_as == "photo"


def test_a_second_head_hides_no_exif_data():
    costly = b"Exif\0\0" + bombs.exif_of_one_place(5_000, 30_000)
    with pytest.raises(ImageError, match="its tags hold more than they can"):
        read(bombs.png(60, 60, 8, bombs.GREY, bombs.chunk(b"eXIf", costly)))


def test_exif_data_of_heads_alone_are_refused_and_not_taken_off_one_by_one():
    with pytest.raises(ImageError, match="Exif data with more than two heads"):
        read(bombs.png(60, 60, 8, bombs.GREY, bombs.chunk(b"eXIf", b"Exif\0\0" * 170_000)))


def test_a_list_of_the_pictures_in_a_jpeg_holds_no_more_than_its_segment():
    costly = bombs.jpeg_segment(0xE2, b"MPF\0" + bombs.exif_of_one_place(20, 8_000))
    with pytest.raises(ImageError, match="its tags hold more than they can"):
        read(before_tables(bombs.saved("JPEG", "RGB", 60), costly))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_what_is_kept_beside_the_pixels_is_bounded(kind):
    comments = bombs.jpeg_segment(0xFE, bytes(60_000)) * 280
    content = {
        "JPEG": before_tables(bombs.saved("JPEG", "RGB", 60), comments),
        "PNG": bombs.png(60, 60, 8, bombs.GREY, bombs.chunk(b"prVt", bytes(17_000_000))),
    }
    with pytest.raises(ImageError, match="more than 16 MiB beside its pixels"):
        read(content[kind])


def test_a_jpeg_that_ends_in_nothing_is_not_searched_byte_by_byte():
    with pytest.raises(ImageError, match="more than 1 MiB between its segments"):
        read(b"\xff\xd8\xff\xe0\0\4ab" + bytes(2_000_000))


@pytest.mark.filterwarnings("ignore::UserWarning")  # whose words are those of Pillow's version
def test_exif_data_that_were_cut_short_hide_no_picture():
    cut = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 37_500, 7, 60_000, 26, 0) + bytes(100)
    assert read(saved(Image.new("RGB", (60, 60)), "JPEG", exif=b"Exif\0\0" + cut)).read_as == "photo"


def test_a_tiff_whose_tags_hold_more_than_the_file_is_refused():
    content = bombs.tiff(1, 1, turn=1, content=b"\0")
    lie = content.replace(struct.pack("<HHII", 274, 4, 1, 1), struct.pack("<HHII", 274, 7, 10**9, 8))
    with pytest.raises(ImageError, match="its tags hold more than they can"):
        read(lie)


def test_what_only_begins_like_a_ppm_is_no_image():
    with pytest.raises(ImageError, match="not an image, or none that can be read"):
        read(b"PK\3\4" + bytes(2_000_000))


def test_a_large_header_does_not_hide_that_there_are_too_many_pixels():
    with pytest.raises(ImageError, match="more than 50,000,000 pixels"):
        read(b"P4 20000 20000\n" + bytes(2_000_000))


@pytest.mark.parametrize("kind", ["PGM", "TIFF"])
def test_what_is_large_and_ordinary_is_read(kind):
    """A screen of 10 bits; three curves of 16 bits, the largest tag that TIFF knows of."""
    tiff = bombs.tiff(60, 60, rows=60, turn=1, content=bytes(3600))
    curves = tiff.replace(struct.pack("<HHII", 274, 4, 1, 1), struct.pack("<HHII", 301, 3, 3 * 65_536, len(tiff)))
    content = {"PGM": b"P5 1920 1080 1023\n" + bytes(2 * 1920 * 1080), "TIFF": curves + bytes(6 * 65_536)}
    assert read(content[kind]).read_as == "photo"


def test_a_jpeg_of_50_megapixels_with_a_preview_inside_is_read():
    """As phones write them: the preview's own scan is not taken for one of the picture's."""
    preview = saved(Image.new("RGB", (160, 120)), "JPEG")
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0\0\0\0\0\0\0" + preview
    assert read(saved(Image.new("RGB", (8160, 6120)), "JPEG", exif=exif, quality=20)).read_as == "photo"


@pytest.mark.parametrize(
    "made",
    [
        b"II*\0\x08\0\0\0\xff\xff",
        b"II+\0\x08\0\0\0\x10" + bytes(7) + b"\xff\0\0\0\0\0\0\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0",
    ],
)
def test_a_tiff_whose_directory_is_not_in_it_is_refused(made):
    with pytest.raises(ImageError, match="its directory is beyond its end"):
        read(made)


CODE = """
import sys, warnings
if len(sys.argv) > 2: warnings.simplefilter(sys.argv[2])
from fmnist_edge_runtime.reader import read_picture
from fmnist_edge_runtime.errors import ImageError
try:
    read_picture(sys.argv[1], 28, 28)
except ImageError as error:
    print(error)
"""


@pytest.mark.parametrize(("choice", "told"), [([], False), (["default"], True)])
def test_pillows_warnings_stay_off_the_terminal_unless_the_application_wants_them(choice, told, tmp_path):
    (tmp_path / "large.png").write_bytes(bombs.REFUSED["PNG, 12,000 x 12,000 claimed"]())
    command = [sys.executable, "-c", CODE, str(tmp_path / "large.png"), *choice]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "more than 50,000,000 pixels" in done.stdout
    assert ("DecompressionBombWarning" in done.stderr) == told
    assert told or done.stderr == ""


def claimed_jpeg(side, start, **options):
    """A JPEG whose header claims to be larger than it is."""
    content = bombs.saved("JPEG", "RGB", 60, **options)
    at = content.index(start) + 5
    return content[:at] + struct.pack(">HH", side, side) + content[at + 4 :]


def one_colour_first():
    content = claimed_jpeg(7_000, b"\xff\xc0")
    at = content.index(b"\xff\xda")
    return content[: at + 2] + b"\0\x08\1\1\0\0\x3f\0" + content[at + 14 :]


def behind_a_marker_without_length(content):
    """Where its length would be, if it had one, something leads to what looks like a scan of all colours."""
    comment = bombs.jpeg_segment(0xFE, bytes(6))
    found_at = 2 + 2 + 0xFFFE
    inside = found_at - len(content[:2] + b"\xff\xd0" + comment + b"\xff\xfe\0\0")
    false_scan = bombs.jpeg_segment(0xFE, bytes(inside) + b"\xff\xda\0\x0c\3")
    return content[:2] + b"\xff\xd0" + comment + false_scan + content[2:]


def large_file():
    whole = bombs.claimed_png(5_792, 5_792)
    return whole[: whole.index(b"IDAT") - 4] + bombs.chunk(b"IDAT", bytes(40_000_000))


def tiff_of_ycbcr():
    rgb, ycbcr = (struct.pack("<HHII", 262, 4, 1, kind) for kind in (2, 6))
    whole = bombs.tiff(4_000, 4_000, rows=4_000, bits=(8,) * 3, compression=7, content=b"\0")
    return whole.replace(rgb, ycbcr)


COSTLY = {
    "TIFF, 19 Mpx to be turned": lambda: bombs.tiff(
        4_400, 4_400, rows=10, turn=6, bits=(8,) * 4, strips=440, compression=8, content=b"\0"
    ),
    "TIFF, 16 Mpx of YCbCr in one strip": tiff_of_ycbcr,
    "JPEG, 49 Mpx, its colours one after another": one_colour_first,
    "the same behind a marker without length": lambda: behind_a_marker_without_length(one_colour_first()),
    "PNG, 33 Mpx in a file of 40 MB": large_file,
    "JPEG, 25 Mpx of 4:4:4 in scans": lambda: claimed_jpeg(5_000, b"\xff\xc2", progressive=True, subsampling=0),
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_decoding_takes_beside_the_picture_counts(name):
    with pytest.raises(ImageError, match="MiB to decode, more than 132 MiB; make it smaller"):
        read(COSTLY[name]())


def test_runs_of_nothing_count_by_their_bytes():
    content = bombs.bmp_in_runs(60)
    with pytest.raises(ImageError, match="60 x 60 in this format takes too long to decode"):
        read(content[:-2] + b"\0\2\0\0" * 3_000_000 + content[-2:])


def test_a_jpeg_counts_by_its_own_size_and_not_by_that_of_its_draft():
    with pytest.raises(ImageError, match="8000 x 8000 is more than 50,000,000 pixels; make it smaller"):
        read(claimed_jpeg(8_000, b"\xff\xc0"))
