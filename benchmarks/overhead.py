"""What the public API costs above a bare `session.run` of the same model under the same options, one thread, one core.

    python benchmarks/overhead.py [MODEL]

Prints microseconds, medians over calls that take turns; exit code 1 if a bound is broken.
"""

import sys
from pathlib import Path

import numpy as np
from turns import in_turns, pin_to_one_core

from fmnist_edge import Classifier
from fmnist_edge_export.data import load_sample
from fmnist_edge_runtime import modelfile, session
from fmnist_edge_runtime.bundled import bundled_model

BOUNDS = {"probabilities(uint8[1, 28, 28])": 5.0, "predict(uint8[28, 28])": 15.0}
BARE = 'session.run(["probabilities"], ...)'
ROUNDS = 20_000


def main() -> int:
    """Measure, print the table, return the exit code."""
    pin_to_one_core()
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else bundled_model()
    bare = session.create(modelfile.read(path), 1)
    classifier = Classifier(path)
    probabilities, predict = BOUNDS
    calls = {
        BARE: lambda images: bare.run(["probabilities"], {"images": images}),
        probabilities: classifier.probabilities,
        predict: lambda images: classifier.predict(images[0]),
    }
    times = in_turns(calls, load_sample().images, rounds=ROUNDS, in_a_row=1)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    print("| call | median | above | at most |\n| --- | --- | --- | --- |")
    print(f"| `{BARE}` | {medians[BARE]:.1f} us | | |")
    broken = False
    for name, bound in BOUNDS.items():
        above = medians[name] - medians[BARE]
        broken |= above > bound
        print(f"| `{name}` | {medians[name]:.1f} us | {above:.1f} us | {bound:g} us |")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
