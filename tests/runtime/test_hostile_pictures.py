"""Pictures made to do harm: other decoders, much memory, much time. docs/reliability.md has the figures."""

import contextlib
import io
import struct
import subprocess
import sys
import warnings

import bombs
import pytest
from PIL import Image

from fmnist_edge_runtime import picture
from fmnist_edge_runtime.errors import ImageError
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
    "JPEG, 49 Mpx, its colours one after another": bombs.one_colour_first,
    "the same behind a marker without length": lambda: behind_a_marker_without_length(bombs.one_colour_first()),
    "PNG, 33 Mpx in a file of 40 MB": large_file,
    "TIFF, 22 Mpx whose bits are given once": tiff_of_bits_given_once,
    "TIFF, 32 Mpx and XMP, which may say that it is to be turned": lambda: bombs.tiff(
        5_700, 5_700, rows=10, turn=1, strips=570, compression=8, content=b"\0"
    ).replace(bombs.TURN, struct.pack("<HHII", 700, 1, 4, 0)),
    "TIFF, 17 Mpx in one strip of LZMA": lambda: bombs.tiff(
        4_150, 4_150, rows=4_150, bits=(8,) * 4, compression=34_925, content=b"\0"
    ),
    "WebP, 8 Mpx and 30 MB of colour profile": lambda: bombs.saved("WEBP", "RGB", 2_800, icc_profile=bytes(30_000_000)),
    "JPEG, 25 Mpx of 4:4:4 in scans": lambda: bombs.claimed_jpeg(5_000, b"\xff\xc2", progressive=True, subsampling=0),
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
        read(bombs.claimed_jpeg(8_000, b"\xff\xc0"))
