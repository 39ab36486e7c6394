"""A folder of 10,000 PNGs at the terminal against the bare loop of bare_bulk.py: pictures per second and memory.

    python benchmarks/bulk.py

Whole commands, start to end, in turns, on every core that this process may use; exit code 1 if a bound is broken. The
pictures are the 10,000 test images where they are present, else the sample ten times over. Linux alone.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from shell import ENVIRONMENT

from fmnist_edge_export import data
from fmnist_edge_runtime.cores import allowed_cores

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 7
LEAST_SPEED = 0.8  # of the bare loop's
MOST_MEMORY = 1.2  # times that for a hundredth of the pictures
MANY, FEW = 10_000, 100
OURS = "fmnist-edge predict FOLDER --jsonl"


def commands(folder: Path) -> dict[str, list[str]]:
    """Return what is compared, by name."""
    bare = [sys.executable, "benchmarks/bare_bulk.py", str(folder)]
    ours = [sys.executable, "-m", "fmnist_edge", "predict", str(folder), "--jsonl"]
    return {OURS: ours, "bare loop, processes": [*bare, "processes"], "bare loop, threads": [*bare, "threads"]}


def main() -> int:
    """Make the pictures, measure, print the table, return the exit code."""
    with tempfile.TemporaryDirectory() as place:
        many, few, out = Path(place) / "many", Path(place) / "few", Path(place) / "out"
        save(pictures(), many)
        save(pictures()[:FEW], few)
        check(many, out)
        seconds = {name: np.empty(ROUNDS) for name in commands(many)}
        for turn in range(ROUNDS):
            for name, command in commands(many).items():
                start = time.perf_counter()
                run(command, out).wait()
                seconds[name][turn] = time.perf_counter() - start
        memory = {count: peak(commands(folder)[OURS], out) for count, folder in ((MANY, many), (FEW, few))}
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    fastest = min((name for name in medians if name != OURS), key=medians.__getitem__)
    speed = {name: float(np.median(seconds[fastest] / values)) for name, values in seconds.items()}  # within rounds
    print(f"{MANY:,} PNGs, {allowed_cores()} cores\n\n| command | pictures a second | of the faster bare loop |")
    print("| --- | --- | --- |")
    for name, median in medians.items():
        print(f"| `{name}` | {MANY / median:,.0f} | {speed[name]:.2f} |")
    growth = memory[MANY] / memory[FEW]
    print(f"\nmemory: {memory[MANY] / 2**20:.0f} MiB for {MANY:,}, {growth:.2f} x that for {FEW}")
    return int(speed[OURS] < LEAST_SPEED or growth > MOST_MEMORY)


def pictures() -> np.ndarray:
    """Return uint8 ``[10000, 28, 28]``."""
    try:
        return data.load("test", download=False).images
    except data.DataError:
        return np.tile(data.load_sample().images, (10, 1, 1))


def save(images: np.ndarray, folder: Path) -> None:
    """Write a PNG for each image."""
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:05}.png")


def run(command: list[str], out: Path) -> subprocess.Popen[bytes]:
    """Start a command that writes to a file, from the project's root."""
    with out.open("wb") as file:
        return subprocess.Popen(command, stdout=file, cwd=ROOT, env=ENVIRONMENT)


def check(folder: Path, out: Path) -> None:
    """Stop unless all commands give the same number of pictures each label; also fills the caches of the disk."""
    counts = []
    for name, command in commands(folder).items():
        if run(command, out).wait():
            sys.exit(f"{name} failed")
        text = out.read_text()
        labels = (json.loads(line)["index"] for line in text.splitlines())
        counts.append(sorted(Counter(labels).items()) if name == OURS else [tuple(x) for x in json.loads(text)])
    if counts[1:] != counts[:-1]:
        sys.exit(f"the answers differ: {counts}")


def peak(command: list[str], out: Path) -> int:
    """Return bytes: the sum over a command's processes of the most that each had resident."""
    most: dict[int, int] = {}
    process = run(command, out)
    while process.poll() is None:
        for pid in family(process.pid):
            most[pid] = max(most.get(pid, 0), resident(pid))
        time.sleep(0.002)
    return sum(most.values())


def family(pid: int) -> list[int]:
    """Return a process and all below it."""
    try:
        listed = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [pid, *(one for text in listed for child in text.split() for one in family(int(child)))]


def resident(pid: int) -> int:
    """Return the most bytes that a process has had resident, 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    sys.exit(main())
