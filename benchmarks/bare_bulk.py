"""The bare loop that `fmnist-edge predict FOLDER --jsonl` is held against: no checks, no choices, no records.

    python benchmarks/bare_bulk.py FOLDER [processes | threads]

Pillow decodes on every core that this process may use, onnxruntime answers in batches, and all that is printed is how
many pictures got each label. Written to be fast: whole batches go to each worker, processes are forked with everything
imported, and the batch is the best of those tried.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import json
import multiprocessing
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
from PIL import Image

BATCH = 32
MODEL = "artifacts/edge/edge.int8.onnx"


def start() -> None:
    """Make this process's session."""
    global session
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])


def label(paths: list[str]) -> list[int]:
    """Return the best label of each picture of a batch."""
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    return session.run(["probabilities"], {"images": pixels})[0].argmax(1).tolist()


def main(folder: str, way: str = "processes") -> None:
    """Count the labels of a folder."""
    paths = sorted(entry.path for entry in os.scandir(folder))
    batches = [paths[at : at + BATCH] for at in range(0, len(paths), BATCH)]
    cores = len(os.sched_getaffinity(0))
    if way == "processes":
        with multiprocessing.get_context("fork").Pool(cores, start) as pool:
            answers = list(pool.imap(label, batches))
    else:
        start()
        with ThreadPoolExecutor(cores) as pool:
            answers = list(pool.map(label, batches))
    print(json.dumps(sorted(Counter(number for batch in answers for number in batch).items())))


if __name__ == "__main__":
    main(*sys.argv[1:])
