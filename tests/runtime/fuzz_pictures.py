"""Damaged pictures of every format and mode: an answer or an ImageError, and nothing else.

python tests/runtime/fuzz_pictures.py 20000             so many cases, in a process of their own
python tests/runtime/fuzz_pictures.py --case 123 FILE   writes one of them to FILE, and reads it here

A case follows from its number, and from what the installed Pillow writes.
"""

import faulthandler
import io
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, features

from fmnist_edge_runtime.errors import ImageError
from fmnist_edge_runtime.reader import WAYS, read_picture

SECONDS = 30  # for one case, after which it counts as hanging
SAVED = {
    "PNG": ({"": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "frames": ("L", "RGBA"), "exif": ("RGB",)}),
    "JPEG": ({"": ("L", "RGB", "CMYK"), "progressive": ("L", "RGB"), "restarts": ("RGB",), "exif": ("RGB",)}),
    "MPO": ({"frames": ("RGB",)}),
    "WEBP": ({"": ("RGB", "RGBA"), "lossless": ("RGB", "RGBA"), "frames": ("RGBA",), "exif": ("RGB",)}),
    "BMP": ({"": ("1", "L", "P", "RGB", "RGBA")}),
    "GIF": ({"": ("L", "P", "RGB", "RGBA"), "frames": ("P", "RGBA")}),
    "TIFF": (
        {
            "": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"),
            "packbits": ("1", "L", "RGB"),
            "tiff_lzw": ("L", "RGB", "I;16"),
            "tiff_deflate": ("RGBA", "F"),
            "jpeg": ("L", "RGB", "YCbCr"),
            "group3": ("1",),
            "group4": ("1",),
            "frames": ("RGB",),
            "big_tiff": ("RGB",),
            "exif": ("RGB",),
        }
    ),
    "PPM": ({"": ("1", "L", "RGB", "I;16", "F")}),
    "AVIF": ({"": ("L", "RGB", "RGBA"), "frames": ("RGB",), "exif": ("RGB",)}),
}
OPTIONS = {
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 1},
    "lossless": {"lossless": True},
    "big_tiff": {"big_tiff": True},
}
PLAIN = {"PPM, P1": b"P1\n9 9\n" + b"1 0 1 " * 27, "PPM, P3": b"P3\n9 9\n255\n" + b"200 100 7 " * 81}


def picture(mode, turn=0):
    """A photograph of sorts, 40 x 30."""
    rows, columns = np.mgrid[0:30, 0:40]
    noise = np.random.default_rng(turn).integers(0, 30, (30, 40, 4))
    article = ((rows - 15) ** 2 + (columns - 20) ** 2 < 100)[..., None]
    pixels = (np.where(article, (180, 60, 40, 255), (20, 30, 60, 120)) + noise).clip(0, 255).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    whole = Image.fromarray(pixels)
    return (whole if mode in ("LA", "RGBA") else whole.convert("RGB")).convert(mode)


def saved(kind, mode, how):
    options = dict(OPTIONS.get(how, {}))
    if how == "frames":
        options = {"save_all": True, "append_images": [picture(mode, 1), picture(mode, 2)]}
    elif how == "exif":
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "turned"
        options = {"exif": exif}
    elif kind == "TIFF" and how not in OPTIONS and how:
        options = {"compression": how}
    buffer = io.BytesIO()
    picture(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def whole_pictures():
    """Every format, mode and way of writing it, by name."""
    kinds = {
        kind: ways
        for kind, ways in SAVED.items()
        if kind != "AVIF" or ("avif" in features.modules and features.check("avif"))
    }
    made = {
        f"{kind} {mode} {how}".strip(): saved(kind, mode, how)
        for kind, ways in kinds.items()
        for how, modes in ways.items()
        for mode in modes
    }
    buffer = io.BytesIO()
    Image.fromarray(np.eye(28, dtype=np.uint8) * 200).save(buffer, "PNG")
    return {**made, **PLAIN, "PNG in Fashion-MNIST's form": buffer.getvalue()}


def truncate(content, rng):
    end = int(rng.integers(0, len(content)))
    return content[:end], f"the first {end} bytes"


def flip(content, rng, reach=None):
    changed = bytearray(content)
    positions = rng.integers(0, 8 * min(len(content), reach or len(content)), rng.integers(1, 9)).tolist()
    for position in positions:
        changed[position // 8] ^= 1 << position % 8
    return bytes(changed), f"bits {positions} flipped"


def flip_header(content, rng):
    return flip(content, rng, reach=64)


def overwrite(content, rng):
    """Extremes where a size, a count or an offset may be."""
    start, width = int(rng.integers(0, len(content))), int(rng.choice([1, 2, 4]))
    value = bytes([int(rng.choice([0, 1, 0x7F, 0x80, 0xFF]))]) * width
    return content[:start] + value + content[start + width :], f"{value.hex()} at {start}"


def repeat(content, rng):
    start, end = sorted(rng.integers(0, len(content), 2).tolist())
    return content[:end] + content[start:], f"bytes {start} to {end} twice"


def drop(content, rng):
    start, end = sorted(rng.integers(0, len(content), 2).tolist())
    return content[:start] + content[end:], f"bytes {start} to {end} left out"


DAMAGES = (truncate, flip, flip_header, overwrite, repeat, drop)


def damaged(pictures, number):
    """Case ``number``: its description, its bytes, and how it is read."""
    rng = np.random.default_rng(number)
    name = list(pictures)[number % len(pictures)]
    content, what = DAMAGES[number // len(pictures) % len(DAMAGES)](pictures[name], rng)
    way = WAYS[int(rng.integers(len(WAYS)))]
    return f"case {number}: {name}, {what}, read as {way}", content, way


def outcome(content, way):
    try:
        reading = read_picture(content, 28, 28, way)
    except ImageError as error:
        if not str(error) or "\n" in str(error):
            raise AssertionError(f"{error!s} is not one line") from error
        return "refused"
    if (reading.pixels.shape, reading.pixels.dtype) != ((28, 28), np.uint8):
        raise AssertionError(f"{reading.pixels.shape} {reading.pixels.dtype}")
    return "answered"


def run(cases):
    """In the child: read each case; the last line on standard output names the case at work, or counts them all."""
    faulthandler.enable()
    pictures, counts = whole_pictures(), Counter()
    written = os.fstat(2).st_size
    for number in range(cases):
        description, content, way = damaged(pictures, number)
        print(description, flush=True)
        faulthandler.dump_traceback_later(SECONDS, exit=True)  # seen even where a decoder never returns
        counts[outcome(content, way)] += 1
        faulthandler.cancel_dump_traceback_later()
        before, written = written, os.fstat(2).st_size
        if written != before and content[:2] not in (b"II", b"MM"):  # libtiff complains by itself
            raise AssertionError("something was written to the terminal")
    print(
        f"{cases:,} cases of {len(pictures)} pictures: {counts['answered']:,} answered, {counts['refused']:,} refused"
    )


def fuzz(cases, *start):
    """Run the cases in a child; return its exit code, its last line, and what it wrote to standard error."""
    with tempfile.TemporaryFile() as terminal:
        command = [sys.executable, *(start or (__file__,)), "--run", str(cases)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, check=False)
        terminal.seek(0)
        complaint = terminal.read().decode(errors="backslashreplace")
    return done.returncode, done.stdout.decode().splitlines()[-1], complaint


def main(arguments):
    if arguments[0] == "--run":
        run(int(arguments[1]))
    elif arguments[0] == "--case":
        description, content, way = damaged(whole_pictures(), int(arguments[1]))
        Path(arguments[2]).write_bytes(content)
        print(description, flush=True)
        print(outcome(content, way))
    else:
        code, last, complaint = fuzz(int(arguments[0]))
        if code != 0:
            sys.exit(f"{complaint}{last}\nended with exit code {code}")
        print(last)


if __name__ == "__main__":
    main(sys.argv[1:])
