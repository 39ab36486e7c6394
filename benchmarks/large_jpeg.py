"""How long it takes to read a JPEG of 12 megapixels, against what Pillow needs to decode it at the size used.

    python benchmarks/large_jpeg.py

The picture is an example of the kit, enlarged, with noise, as cameras add it.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from turns import in_turns, pin_to_one_core

pin_to_one_core()

from fmnist_edge import Classifier
from fmnist_edge_export.cpu import this_cpu
from fmnist_edge_runtime.reader import read_picture

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "pictures" / "coat.png"
SIZE = (4000, 3000)
USED = 224  # pixels of the shorter side that the reader asks decoders for, at least


def photograph() -> bytes:
    """Return the picture as a JPEG."""
    levels = np.asarray(Image.open(EXAMPLE).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC), np.int16)
    noise = np.random.default_rng(0).normal(0, 4, (SIZE[1], SIZE[0], 1)).astype(np.int16)
    buffer = io.BytesIO()
    Image.fromarray((levels + noise).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def decode(content: bytes) -> None:
    """Decode the JPEG with Pillow alone, at the size used."""
    with Image.open(io.BytesIO(content)) as image:
        image.draft(None, (USED, USED))
        image.load()


def main() -> None:
    """Print the table."""
    content = photograph()
    classifier = Classifier()
    calls = {
        "Pillow, decoding alone": lambda _: decode(content),
        "fmnist-edge, reading": lambda _: read_picture(content, 28, 28),
        "fmnist-edge, `predict`": lambda _: classifier.predict(content),
    }
    times = in_turns(calls, np.zeros((1, 28, 28), np.uint8), rounds=31, in_a_row=1)
    decoding = times["Pillow, decoding alone"]
    print(f"{this_cpu().name}, one core; {SIZE[0]} x {SIZE[1]}, {len(content) / 1e6:.1f} MB\n")
    print("| | median | x |\n| --- | --- | --- |")
    for name, values in times.items():
        print(f"| {name} | {np.median(values) / 1e3:.1f} ms | {np.median(values / decoding):.2f} |")


if __name__ == "__main__":
    main()
