"""What the public API costs above a bare `session.run` of its own session, one thread, one core.

    python benchmarks/overhead.py [MODEL]

Prints microseconds, medians over rounds in which the calls take turns, above: of the differences within rounds. Exit
code 1 if a bound is broken.
"""

import sys
from pathlib import Path

import numpy as np
from turns import in_turns, pin_to_one_core

from fmnist_edge import Classifier
from fmnist_edge_export.data import load_sample
from fmnist_edge_runtime.bundled import bundled_model

BOUNDS = {"probabilities(uint8[1, 28, 28])": 5.0, "predict(uint8[28, 28])": 15.0}
BARE = 'session.run(["probabilities"], ...)'
ROUNDS, IN_A_ROW = 500, 40


def main() -> int:
    """Measure, print the table, return the exit code."""
    pin_to_one_core()
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else bundled_model()
    classifier = Classifier(path)
    # Its own: of two sessions, the one less called would lose its weights from the CPU's caches.
    bare = classifier._live[0].inference
    probabilities, predict = BOUNDS
    calls = {
        BARE: lambda images: bare.run(["probabilities"], {"images": images}),
        probabilities: classifier.probabilities,
        predict: lambda images: classifier.predict(images[0]),
    }
    times = in_turns(calls, load_sample().images, rounds=ROUNDS, in_a_row=IN_A_ROW)
    print("| call | median | above | at most |\n| --- | --- | --- | --- |")
    print(f"| `{BARE}` | {np.median(times[BARE]):.1f} us | | |")
    broken = False
    for name, bound in BOUNDS.items():
        above = float(np.median(times[name] - times[BARE]))
        broken |= above > bound
        print(f"| `{name}` | {np.median(times[name]):.1f} us | {above:.1f} us | {bound:g} us |")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
