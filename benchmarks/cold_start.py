"""What a first prediction costs at the terminal, against the shortest script that gives the same answer.

    python benchmarks/cold_start.py [--runs 15]

Both are run in turn, each as a whole process; the ratios are medians over the pairs. Exit code 1 if ``predict`` takes
more than 1.25 x the time or 1.10 x the peak memory. Linux and macOS.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from shell import ENVIRONMENT

from fmnist_edge_runtime.bundled import bundled_model

PICTURE = Path(__file__).parents[1] / "examples" / "pictures" / "ankle-boot.png"
MOST_TIME, MOST_MEMORY = 1.25, 1.10
SHORTEST = """\
import os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np
import onnxruntime as ort
from PIL import Image
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
image = np.asarray(Image.open(sys.argv[2]).convert("L").resize((28, 28)))
print(session.run(["probabilities"], {"images": image[None]})[0].argmax())
"""


def measured(command: list[str]) -> tuple[float, float]:
    """Return the seconds and the peak memory, in this system's unit, of one whole process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{' '.join(command[:3])} ...: failed")
    return seconds, usage.ru_maxrss


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    command = str(Path(sys.executable).with_name("fmnist-edge"))
    commands = {
        "the shortest script": [sys.executable, "-c", SHORTEST, str(bundled_model()), str(PICTURE)],
        "`fmnist-edge predict`": [command, "predict", str(PICTURE)],
        "`fmnist-edge --help`": [command, "--help"],
    }
    for each in commands.values():
        measured(each)
    rounds = [[measured(each) for each in commands.values()] for _ in range(runs)]
    print("| whole process | time | x | memory, x |\n| --- | --- | --- | --- |")
    ratios = []
    for number, name in enumerate(commands):
        seconds = statistics.median(row[number][0] for row in rounds)
        times, memory = (statistics.median(row[number][which] / row[0][which] for row in rounds) for which in (0, 1))
        ratios.append((times, memory))
        print(f"| {name} | {seconds * 1e3:.0f} ms | {times:.2f} | {memory:.3f} |")
    return int(ratios[1][0] > MOST_TIME or ratios[1][1] > MOST_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
