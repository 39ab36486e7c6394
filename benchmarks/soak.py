"""Whether one Classifier stays right when it is shared and small when it lives long.

    python benchmarks/soak.py [--shared 10000] [--predictions 1000000]

Eight threads share a Classifier: every answer must equal the serial one, bit for bit. Then one thread predicts in turn
from arrays and from PNGs: at the end the process may hold at most 1 MB more than after the first 10,000. Exit code 1
if either fails. Linux only: resident memory is read from /proc.
"""

import argparse
import gc
import io
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from fmnist_edge import Classifier
from fmnist_edge_export.data import load_sample

THREADS = 8
WARM = 10_000
BOUND = 1_000_000  # bytes


def main() -> int:
    """Run both, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=int, default=10_000, help="predictions of each thread")
    parser.add_argument("--predictions", type=int, default=1_000_000, help="predictions of the long life")
    arguments = parser.parse_args()
    if arguments.predictions <= WARM:
        parser.error(f"--predictions {arguments.predictions}: more than {WARM} are needed to compare memory")
    images = load_sample().images
    with Classifier() as classifier:
        wrong = shared(classifier, images, arguments.shared)
        grown = long_life(classifier, images, arguments.predictions)
    return int(wrong > 0 or grown > BOUND)


def shared(classifier: Classifier, images: np.ndarray, count: int) -> int:
    """Return how many of the answers to eight threads are not the serial ones."""
    serial = [classifier.probabilities(image[None]).tobytes() for image in images]
    all_at_once = threading.Barrier(THREADS)

    def wrong(number: int) -> int:
        all_at_once.wait()
        places = [(number * 100 + turn) % len(images) for turn in range(count)]
        return sum(classifier.probabilities(images[place][None]).tobytes() != serial[place] for place in places)

    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        total = sum(pool.map(wrong, range(THREADS)))
    seconds = time.perf_counter() - start
    print(f"{THREADS} threads, {count:,} predictions each, {seconds:.0f} s: {total} differ from the serial answers")
    return total


def long_life(classifier: Classifier, images: np.ndarray, count: int) -> int:
    """Return the bytes by which the process has grown between ``WARM`` predictions and ``count``."""
    pictures = [picture for image in images for picture in (image, png(image))]
    after_warm, start = 0, time.perf_counter()
    for turn in range(1, count + 1):
        classifier.predict(pictures[turn % len(pictures)])
        if turn == WARM:
            after_warm = resident()
        if turn >= WARM and turn % max(WARM, count // 10) == 0:
            print(f"{turn:>9,} predictions: {resident() / 1e6:.2f} MB", file=sys.stderr)
    grown = resident() - after_warm
    seconds = time.perf_counter() - start
    print(
        f"resident memory {after_warm / 1e6:.2f} MB after {WARM:,} predictions, {grown / 1e6:+.2f} MB after {count:,} "
        f"({seconds:.0f} s); at most {BOUND / 1e6:+.2f} MB"
    )
    return grown


def png(image: np.ndarray) -> bytes:
    """Return ``image`` as a PNG's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def resident() -> int:
    """Return the bytes that this process holds in memory, cycles of garbage collected."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
