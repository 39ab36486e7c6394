"""Pictures made to be costly: the largest that are read, and what is refused. Linux alone tells the peak memory.

python tests/runtime/bombs.py         a table of what each costs, and what it is answered
python tests/runtime/bombs.py FILE    the cost of one file, as JSON
"""

import functools
import io
import json
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, features

from fmnist_edge_runtime.errors import ImageError
from fmnist_edge_runtime.reader import read_picture

GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6  # PNG's colour types
_BANDS = {GREY: 1, RGB: 3, GREY_ALPHA: 2, RGBA: 4}


def zeros(count):
    """So many zero bytes, compressed, without ever holding them."""
    packer, piece = zlib.compressobj(1), bytes(2**20)
    parts = [packer.compress(piece) for _ in range(count // len(piece))]
    return b"".join([*parts, packer.compress(bytes(count % len(piece))), packer.flush()])


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, bits, colour, *more):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    rows = zeros(height * (1 + (width * bits * _BANDS[colour] + 7) // 8))
    parts = [chunk(b"IHDR", header), *more, chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def claimed_png(width, height):
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, RGB, 0, 0, 0))
        + chunk(b"IDAT", b"")
    )


def tiff(width, height, *, bits=(8,), compression=1, content=b"", strips=1, repeat=(), **more):
    """A TIFF of one directory whose strips, or tiles, are all the same ``content`` at its end."""
    tags = {"width": 256, "height": 257, "turn": 274, "rows": 278, "tile_width": 322, "tile_height": 323}
    values = {tags[name]: value for name, value in {"width": width, "height": height, **more}.items()}
    values |= {259: compression, 262: 2 if len(bits) > 1 else 1, 277: len(bits)}
    values |= {338: 2} if len(bits) == 4 else {}
    entries = [*values.items(), *[(tags[name], value) for name, value in repeat]]
    start = 8 + 2 + 12 * (len(entries) + 3) + 4
    where, lengths = start + 2 * len(bits), start + 2 * len(bits) + 4 * strips
    content_at = lengths + 4 * strips
    offsets, counts = (324, 325) if "tile_width" in more else (273, 279)
    rows = [(tag, 4, 1, value) for tag, value in entries]
    rows.append((258, 3, len(bits), start if len(bits) > 2 else bits[0]))
    rows += [(offsets, 4, strips, where if strips > 1 else content_at)]
    rows += [(counts, 4, strips, lengths if strips > 1 else len(content))]
    directory = struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *row) for row in sorted(rows))
    tail = struct.pack(f"<{len(bits)}H", *bits)
    tail += struct.pack(f"<{strips}I", *[content_at] * strips) + struct.pack(f"<{strips}I", *[len(content)] * strips)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + tail + content


TURN = struct.pack("<HHII", 274, 4, 1, 1)  # a tag of tiff(turn=1), to make another of


def tiff_of_numbers(count):
    """A TIFF whose orientation is ``count`` numbers of 16 bits."""
    content = tiff(1, 1, turn=1, content=b"\0")
    return content.replace(TURN, struct.pack("<HHII", 274, 3, count, len(content))) + b"\1\0" * count


def exif(count):
    """Exif data whose orientation is ``count`` numbers of 16 bits."""
    return b"II*\0" + struct.pack("<IHHHIII", 8, 1, 274, 3, count, 26, 0) + b"\1\0" * count


def exif_of_one_place(tags, numbers):
    """Exif data of many tags, whose numbers are all the same ones."""
    start = 8 + 2 + 12 * tags + 4
    entries = b"".join(struct.pack("<HHII", 30_000 + tag, 3, numbers, start) for tag in range(tags))
    return b"II*\0" + struct.pack("<IH", 8, tags) + entries + bytes(4) + b"\1\0" * numbers


def tiff_with_directory(count):
    """A TIFF whose Exif directory has one tag of ``count`` numbers."""
    content = tiff(1, 1, turn=1, content=b"\0")
    at = len(content)
    inner = struct.pack("<HHHIII", 1, 33_434, 3, count, at + 18, 0) + b"\1\0" * count
    return content.replace(TURN, struct.pack("<HHII", 34_665, 4, 1, at)) + inner


def as_text(exif_data):
    """A PNG's text chunk that holds Exif data, as ImageMagick writes them."""
    lines = f"\nexif\n{len(exif_data)}\n{exif_data.hex()}\n".encode()
    return chunk(b"tEXt", b"Raw profile type exif\0" + lines)


def jpeg_segment(kind, content):
    return bytes((0xFF, kind)) + struct.pack(">H", 2 + len(content)) + content


def saved(kind, mode, side, **options):
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, kind, **options)
    return buffer.getvalue()


def packed_text():
    """A text of a megabyte that takes four in memory: one of its letters is none of the first 65,536."""
    return chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress("\U0001f600".encode() + b"a" * 999_000))


def claimed_jpeg(side, start, **options):
    """A JPEG whose header claims to be larger than it is."""
    content = saved("JPEG", "RGB", 60, **options)
    at = content.index(start) + 5
    return content[:at] + struct.pack(">HH", side, side) + content[at + 4 :]


def one_colour_first():
    content = claimed_jpeg(7_000, b"\xff\xc0")
    at = content.index(b"\xff\xda")
    return content[: at + 2] + b"\0\x08\1\1\0\0\x3f\0" + content[at + 14 :]


def png_with_texts(count):
    text = zeros(900_000)
    return png(60, 60, 8, GREY, *[chunk(b"zTXt", b"text%d\0\0" % number + text) for number in range(count)])


def scans(side, count):
    """A progressive JPEG whose last scan, a few bytes, comes again and again."""
    content = saved("JPEG", "L", side, progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * count + b"\xff\xd9"


def claimed_webp(side):
    """A WebP with one frame of 16 x 16 on a canvas of ``side`` x ``side``."""
    still = saved("WEBP", "RGB", 16)[12:]
    size = struct.pack("<I", side - 1)[:3]
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + size * 2
    frame = bytes(6) + struct.pack("<I", 15)[:3] * 2 + bytes(4) + still
    parts = canvas + b"ANIM" + struct.pack("<I", 6) + bytes(6) + b"ANMF" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WEBP" + parts


def box(kind, content):
    return struct.pack(">I", 8 + len(content)) + kind + content


def boxes(content):
    """The boxes in ``content``, by kind: as Pillow writes them none is longer than 4 GiB and none comes twice."""
    found, at = {}, 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        found[content[at + 4 : at + 8]] = content[at + 8 : at + size]
        at += size
    return found


def lying_avif(content, side):
    """``content`` with each size in its boxes, but not in its AV1 data, made ``side`` x ``side``."""
    width, height = Image.open(io.BytesIO(content)).size
    lie = content.replace(b"ispe" + struct.pack(">III", 0, width, height), b"ispe" + struct.pack(">III", 0, side, side))
    track = [struct.pack(">III", 2**30, *(length << 16 for length in size)) for size in ((width, height), (side, side))]
    return lie.replace(*track)


@functools.cache  # made twice, in seconds
def large_lying_avif(side):
    return lying_avif(saved("AVIF", "RGB", side, speed=10, subsampling="4:4:4"), 64)


def avif_with_items(count, extents):
    """An AVIF with ``count`` items more, each in so many parts without a byte."""
    parts = boxes(saved("AVIF", "RGB", 64))
    inner = boxes(parts[b"meta"][4:])
    entries = b"".join(struct.pack(">HHHH", 100 + number, 0, 0, extents) for number in range(count))
    inner[b"iloc"] = bytes((1, 0, 0, 0, 0, 0)) + struct.pack(">H", count) + entries
    parts[b"meta"] = bytes(4) + b"".join(box(*pair) for pair in inner.items())
    return b"".join(box(*pair) for pair in parts.items())


def many_frames(side, count):
    """A GIF of ``count`` frames."""
    content = saved("GIF", "L", side)
    start = content.index(b",", 13 + 3 * 2 ** ((content[10] & 7) + 1))
    return content[:start] + content[start:-1] * count + b";"


def gif_with_comments(count):
    """A GIF with a comment in ``count`` parts before its only frame."""
    content = saved("GIF", "L", 60)
    start = content.index(b",", 13 + 3 * 2 ** ((content[10] & 7) + 1))
    return content[:start] + b"!\xfe" + (b"\xff" + b"c" * 255) * count + b"\0" + content[start:]


def bmp_in_runs(side):
    """A BMP compressed in runs (RLE8) of one pixel in each row: the others are left to the decoder."""
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 0, 0, 0, 1, 0) + bytes(4)
    pixels = b"\1\0\0\0" * side + b"\0\1"
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(pixels), 0, 0, 14 + len(header)) + header + pixels


HAS_AVIF = "avif" in features.modules and features.check("avif")
DEFLATE = 8
SCREEN, TILE = 5_792, 20_000  # pixels a side
LARGEST = {
    "PNG, 50 Mpx of grey": lambda: png(10_000, 5_000, 8, GREY),
    "PNG, 33 Mpx of RGBA": lambda: png(SCREEN, SCREEN, 8, RGBA),
    "PNG, 33 Mpx of 16-bit RGBA": lambda: png(SCREEN, SCREEN, 16, RGBA),
    "PNG, 33 Mpx of 16-bit grey": lambda: png(SCREEN, SCREEN, 16, GREY),
    "PNG, 33 Mpx of grey and alpha": lambda: png(SCREEN, SCREEN, 8, GREY_ALPHA),
    "PNG, 33 Mpx of RGBA and 8 MB more": lambda: png(SCREEN, SCREEN, 8, RGBA, chunk(b"prVt", bytes(8_000_000))),
    "PNG, 33 Mpx of RGBA and 8 packed texts": lambda: png(SCREEN, SCREEN, 8, RGBA, packed_text() * 8),
    "GIF, 50 Mpx": lambda: saved("GIF", "P", 7_071),
    "GIF, 5,000 frames": lambda: many_frames(1_000, 5_000),
    "JPEG, 50 Mpx": lambda: saved("JPEG", "RGB", 7_071),
    "JPEG, 43 Mpx in scans": lambda: saved("JPEG", "RGB", 6_600, progressive=True),
    "JPEG, 43 Mpx in scans and 8 MB more": lambda: saved("JPEG", "RGB", 6_600, progressive=True).replace(
        b"\xff\xdb", jpeg_segment(0xFE, bytes(65_533)) * 120 + b"\xff\xdb", 1
    ),
    "JPEG, 16 Mpx in 80 scans": lambda: scans(4_000, 80),
    "WebP, 8.3 Mpx": lambda: saved("WEBP", "RGBA", 2_896, lossless=True),
    "TIFF, 11 Mpx in one strip": lambda: tiff(
        3_344, 3_344, rows=3_344, bits=(16,) * 4, compression=DEFLATE, content=zeros(8 * 3_344**2)
    ),
    "TIFF, 16 Mpx to be turned": lambda: tiff(
        4_000, 4_000, rows=10, turn=6, bits=(8,) * 4, strips=400, compression=DEFLATE, content=zeros(4 * 40_000)
    ),
    "PGM, 2 Mpx up to 1,000": lambda: b"P5 2000 1000 1000\n" + bytes(4_000_000),
    "BMP, 2 Mpx in runs": lambda: bmp_in_runs(1_410),
    "PNG, 100,000 chunks": lambda: png(60, 60, 8, GREY, chunk(b"prVt", b"") * 99_990),
    "GIF, 1 MB of comments": lambda: gif_with_comments(4_000),
    "JPEG, Exif in 64 parts": lambda: saved("JPEG", "RGB", 60).replace(
        b"\xff\xdb", jpeg_segment(0xE1, b"Exif\0\0" + exif(1_000)) * 64 + b"\xff\xdb", 1
    ),
    "TIFF, 100,000 strips": lambda: tiff(1, 100_000, rows=1, strips=100_000, content=b"\0"),
}
if HAS_AVIF:
    LARGEST["AVIF, 10 Mpx"] = lambda: saved("AVIF", "RGBA", 3_180, speed=10)
    LARGEST["AVIF, 7.9 Mpx of 4:4:4"] = lambda: saved("AVIF", "RGBA", 2_816, speed=10, subsampling="4:4:4")
    LARGEST["AVIF, 21 Mpx, 64 x 64 claimed"] = lambda: large_lying_avif(4_600)
    LARGEST["AVIF, 10 Mpx claimed"] = lambda: lying_avif(saved("AVIF", "RGBA", 64, speed=10), 3_100)
REFUSED = {
    "PNG, 100,000 x 100,000 claimed": lambda: claimed_png(100_000, 100_000),
    "PNG, 12,000 x 12,000 claimed": lambda: claimed_png(12_000, 12_000),
    "PNG, 50 Mpx of RGBA": lambda: png(10_000, 5_000, 8, RGBA),
    "PNG, 180 MB of texts": lambda: png_with_texts(200),
    "PNG, 100 MB of colour profile": lambda: png(60, 60, 8, GREY, chunk(b"iCCP", b"it\0\0" + zeros(10**8))),
    "PNG, 1,800,000 chunks": lambda: png(60, 60, 8, GREY, chunk(b"prVt", b"") * 1_800_000),
    "PNG, 24 MB of Exif": lambda: png(60, 60, 8, GREY, chunk(b"eXIf", exif(12_000_000))),
    "JPEG, Exif in 200,000 parts": lambda: saved("JPEG", "RGB", 60).replace(
        b"\xff\xdb", jpeg_segment(0xE1, b"Exif\0\0" + bytes(10)) * 200_000 + b"\xff\xdb", 1
    ),
    "PNG, 12 MB of Exif as text": lambda: png(60, 60, 8, GREY, as_text(exif(3_000_000))),
    "PNG, 5,000 tags of one place": lambda: png(60, 60, 8, GREY, chunk(b"eXIf", exif_of_one_place(5_000, 30_000))),
    "JPEG, 64 MB of comments": lambda: saved("JPEG", "RGB", 60).replace(
        b"\xff\xdb", jpeg_segment(0xFE, bytes(65_533)) * 980 + b"\xff\xdb", 1
    ),
    "PNG, 64 MB of what nobody knows": lambda: png(60, 60, 8, GREY, chunk(b"prVt", bytes(64_000_000))),
    "JPEG, 600,000 segments": lambda: saved("JPEG", "RGB", 60).replace(
        b"\xff\xdb", jpeg_segment(0xE3, b"") * 600_000 + b"\xff\xdb", 1
    ),
    "JPEG, 32 MB between segments": lambda: saved("JPEG", "RGB", 60).replace(
        b"\xff\xdb", bytes(32_000_000) + b"\xff\xdb", 1
    ),
    "GIF, 16 MB of comments": lambda: gif_with_comments(65_000),
    "BMP, 36 Mpx in runs": lambda: bmp_in_runs(6_000),
    "PGM, 12 Mpx up to 1,000": lambda: b"P5 4000 3000 1000\n" + bytes(24_000_000),
    "PPM, a comment of 32 MB": lambda: b"P6 #" + b"c" * 32_000_000 + b"\n60 60 255\n" + bytes(3 * 60 * 60),
    "PBM, 500,000 comments": lambda: b"P1 60 60\n" + b"#\n" * 500_000 + b"1" * 60 * 60,
    "JPEG, 50 Mpx in scans": lambda: saved("JPEG", "RGB", 7_071, progressive=True),
    "JPEG, 16 Mpx in 1,000 scans": lambda: scans(4_000, 1_000),
    "WebP, 12 Mpx": lambda: saved("WEBP", "RGB", 3_500),
    "WebP, a canvas of 16,383 x 16,383": lambda: claimed_webp(16_383),
    "TIFF, 33 Mpx in one strip": lambda: tiff(
        SCREEN, SCREEN, bits=(8,) * 4, compression=DEFLATE, content=zeros(4 * SCREEN**2)
    ),
    "TIFF, a tile of 20,000 x 20,000": lambda: tiff(
        10, 10, tile_width=TILE, tile_height=TILE, compression=DEFLATE, content=zeros(TILE**2)
    ),
    "TIFF, that tile and a small one": lambda: tiff(
        *(10, 10),
        tile_width=TILE,
        tile_height=TILE,
        compression=DEFLATE,
        content=zeros(TILE**2),
        repeat=[("tile_width", 16), ("tile_height", 16)],
    ),
    "TIFF, 1,000,000 strips": lambda: tiff(1, 1_000_000, rows=1, strips=1_000_000, content=b"\0"),
    "TIFF, 1,000,000 strips, begun otherwise": lambda: tiff(
        1, 1_000_000, rows=1, strips=1_000_000, content=b"\0"
    ).replace(b"II*\0", b"II\0*", 1),
    "BigTIFF in the wrong order": lambda: b"MM\0+" + bytes(100),
    "TIFF, an Exif directory of 6,000,000 numbers": lambda: tiff_with_directory(6_000_000),
    "TIFF, a tag of 12,000,000 numbers": lambda: tiff_of_numbers(12_000_000),
    "TIFF, 100,000 strips one upon another": lambda: tiff(
        1_000, 1_000, rows=999, strips=100_000, content=bytes(1_000_000)
    ),
}

if HAS_AVIF:
    REFUSED["AVIF, 52 Mpx, 64 x 64 claimed"] = lambda: large_lying_avif(7_200)
    REFUSED["AVIF, 12 Mpx claimed"] = lambda: lying_avif(saved("AVIF", "RGBA", 64, speed=10), 3_500)
    REFUSED["AVIF, 20 million parts"] = lambda: avif_with_items(300, 65_535)


def peak():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def cost(path):
    """The bytes and seconds that reading ``path`` takes, beyond those of a process that has read a small picture."""
    read_picture(np.zeros((60, 60, 3), np.uint8), 28, 28)
    before, start = peak(), time.process_time()
    try:
        answer = f"read as {read_picture(path, 28, 28).read_as}"
    except ImageError as error:
        answer = str(error).removeprefix(f"{path}: ")
    return {"memory": peak() - before, "seconds": time.process_time() - start, "answer": answer}


def cost_in_a_process(path):
    command = [sys.executable, "-W", "ignore", __file__, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout)


def table():
    print(f"{'':40} {'bytes':>9} {'MB':>6} {'s':>6}  answer")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bomb")
        for name, make in {**LARGEST, **REFUSED}.items():
            path.write_bytes(make())
            seen = cost_in_a_process(path)
            size = path.stat().st_size
            print(f"{name:40} {size:9,} {seen['memory'] / 1e6:6.1f} {seen['seconds']:6.2f}  {seen['answer']}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(cost(sys.argv[1])))
    else:
        table()
