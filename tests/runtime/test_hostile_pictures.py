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
from fmnist_edge_runtime.jpeg import count_scans
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
    with pytest.raises(ImageError, match=r"Exif data with more than two heads; save it anew, as PNG or JPEG$"):
        read(bombs.png(60, 60, 8, bombs.GREY, bombs.chunk(b"eXIf", b"Exif\0\0" * 170_000)))


def test_a_list_of_the_pictures_in_a_jpeg_holds_no_more_than_its_segment():
    costly = bombs.jpeg_segment(0xE2, b"MPF\0" + bombs.exif_of_one_place(20, 8_000))
    with pytest.raises(ImageError, match="its tags hold more than they can"):
        read(before_tables(bombs.saved("JPEG", "RGB", 60), costly))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_what_is_kept_beside_the_pixels_is_bounded(kind):
    comments = bombs.jpeg_segment(0xFE, bytes(60_000)) * 140
    content = {
        "JPEG": before_tables(bombs.saved("JPEG", "RGB", 60), comments),
        "PNG": bombs.png(60, 60, 8, bombs.GREY, bombs.chunk(b"prVt", bytes(8_400_000))),
    }
    with pytest.raises(ImageError, match="more than 8 MiB beside its pixels"):
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


@pytest.mark.parametrize("kind", [0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF])
def test_a_jpeg_that_is_lossless_or_of_arithmetic_codes_is_refused(kind):
    content = bombs.saved("JPEG", "RGB", 60).replace(b"\xff\xc0", bytes((0xFF, kind)), 1)
    with pytest.raises(ImageError, match="a lossless, hierarchical or arithmetic-coded JPEG, which is not read"):
        read(content)


def test_a_jpeg_has_one_frame_header_of_few_components():
    content = bombs.saved("JPEG", "RGB", 60)
    at = content.index(b"\xff\xc0")
    twice = content[:at] + content[at : at + 19] + content[at:]
    long = before_tables(bombs.saved("JPEG", "RGB", 60), bombs.jpeg_segment(0xC0, bytes(6 + 3 * 5)))
    for made in (twice, long):
        with pytest.raises(ImageError, match="more than one frame header, or one of too many components"):
            read(made)


def test_a_jpeg_has_few_segments_of_resources():
    with pytest.raises(ImageError, match="more than 64 segments of resources"):
        read(before_tables(bombs.saved("JPEG", "RGB", 60), bombs.jpeg_segment(0xED, b"Photoshop 3.0\0") * 65))


def test_scans_are_counted_up_to_the_end_of_the_image_and_no_further():
    scan = bombs.scans(60, 1)[len(bombs.saved("JPEG", "L", 60, progressive=True)) - 2 : -2]
    whole = bombs.saved("JPEG", "L", 60, progressive=True)
    assert count_scans(whole) == whole.count(b"\xff\xda")
    false_end = bombs.jpeg_segment(0xFE, b"\xff\xd9")
    assert count_scans(whole[:-2] + false_end + 20 * scan + whole[-2:]) == count_scans(whole) + 20
    assert count_scans(whole + 20 * scan) == count_scans(whole)


def test_a_jpeg_with_a_film_behind_it_is_read():
    film = np.random.default_rng(0).integers(0, 256, 8_000_000, np.uint8).tobytes()
    assert read(bombs.saved("JPEG", "RGB", 3_000, progressive=True) + film).read_as == "photo"


def test_jpeg_in_a_tiff_is_read_if_it_is_in_one_scan():
    def tiff(content):
        return bombs.tiff(64, 64, rows=64, compression=7, content=content)

    assert read(tiff(bombs.saved("JPEG", "L", 64))).read_as == "photo"
    for made in (bombs.saved("JPEG", "L", 64, progressive=True), one_colour_first()):
        with pytest.raises(ImageError, match="JPEG in it that is not in one scan"):
            read(tiff(made))


def test_tiles_far_larger_than_the_picture_are_refused():
    with pytest.raises(ImageError, match="its tiles cover its 1 x 640 pixels too often"):
        read(bombs.tiff(1, 640, tile_width=4_000_000, tile_height=16, strips=40, compression=8, content=b"\0"))


def test_strips_one_upon_another_are_counted_by_their_bytes():
    with pytest.raises(ImageError, match="more than 64 MiB in its strips"):
        read(bombs.tiff(1, 2_000, rows=1, strips=2_000, compression=32_773, content=bytes(100_000)))


def test_exif_data_of_a_tiff_hold_few_numbers():
    with pytest.raises(ImageError, match="more than 20,000 numbers in its tags"):
        read(bombs.tiff_with_directory(30_000))


def test_what_leads_to_exif_data_is_a_place():
    whole = bombs.tiff(1, 1, turn=1, content=b"\0")
    with pytest.raises(ImageError, match="a directory that is nowhere"):
        read(whole.replace(TURN, struct.pack("<HHII", 34_665, 3, 1, len(whole))) + bytes(100))


def test_texts_of_a_png_are_counted_as_what_they_may_be_unpacked():
    short = bombs.chunk(b"iTXt", b"Title\0\0\0ja\0\0" + "\U0001f600".encode() * 5)
    assert read(bombs.png(60, 60, 8, bombs.GREY, short * 100)).read_as == "photo"
    assert read(bombs.png(60, 60, 8, bombs.GREY, bombs.packed_text() * 8)).read_as == "photo"
    with pytest.raises(ImageError, match="more than 32 MiB of texts"):
        read(bombs.png(60, 60, 8, bombs.GREY, bombs.packed_text() * 9))


def test_exif_data_as_text_are_not_split_into_any_number_of_lines():
    with pytest.raises(ImageError, match="more than 3 MiB, or 100,000 lines, of Exif data as text"):
        read(bombs.png(60, 60, 8, bombs.GREY, bombs.chunk(b"tEXt", b"Raw profile type exif\0" + b"\n" * 200_000)))


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


TURN = struct.pack("<HHII", 274, 4, 1, 1)  # a tag of bombs.tiff(turn=1), to make another of


def tiff_of_bits_given_once():
    """Four samples a pixel, of which the bits of the first alone are given."""
    content = bombs.tiff(4_700, 4_700, rows=4_700, compression=8, content=b"\0")
    for tag, samples in ((277, 4), (262, 2)):
        content = content.replace(struct.pack("<HHII", tag, 4, 1, 1), struct.pack("<HHII", tag, 4, 1, samples))
    return content


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
    "TIFF, 22 Mpx whose bits are given once": tiff_of_bits_given_once,
    "TIFF, 32 Mpx and XMP, which may say that it is to be turned": lambda: bombs.tiff(
        5_700, 5_700, rows=10, turn=1, strips=570, compression=8, content=b"\0"
    ).replace(TURN, struct.pack("<HHII", 700, 1, 4, 0)),
    "TIFF, 17 Mpx in one strip of LZMA": lambda: bombs.tiff(
        4_150, 4_150, rows=4_150, bits=(8,) * 4, compression=34_925, content=b"\0"
    ),
    "WebP, 8 Mpx and 30 MB of colour profile": lambda: bombs.saved("WEBP", "RGB", 2_800, icc_profile=bytes(30_000_000)),
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
