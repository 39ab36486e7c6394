"""What a label's weight in photographs costs it, and what it spares others: the weight of Bag (docs/pictures.md).

    python benchmarks/bags.py [--model FILE]

The 2,000 training images that only the classroom nets learned from, as product pictures on four kinds of ground, and
what the model would answer if Bag counted otherwise.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from product_pictures import product_picture

from fmnist_edge import Classifier
from fmnist_edge_export.data import load
from fmnist_edge_export.recipes import RECIPES
from fmnist_edge_export.train import split
from fmnist_edge_runtime.photo import WEIGHTS

KINDS = ("white", "grey, noise and a gradient", "colour", "transparent")
TRIED = (1.0, 0.7, 0.6, 0.5, 0.4, 0.3)
HELD_OUT = 2000  # of every network of the kit but those


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    classifier = Classifier(parser.parse_args().model)
    bag = classifier.labels.index("Bag")
    held = split(load("train"), load("test"), replace(RECIPES["edge"], validation=HELD_OUT)).watch
    bags = held.labels == bag
    print("| ground | Bag counts | right | bags named | and known | others called bags |\n| --- " + "| --- " * 5 + "|")
    for kind in KINDS:
        rng = np.random.default_rng(1)
        answers = classifier.predict_many(product_picture(image, kind, rng) for image in held.images)
        probabilities = np.array([answer.probabilities for answer in answers])
        probabilities[:, bag] /= WEIGHTS["Bag"]
        for weight in TRIED:
            counted = probabilities.copy()
            counted[:, bag] *= weight
            counted /= counted.sum(axis=1, keepdims=True)
            named, known = counted.argmax(1), counted.max(1) >= classifier.contract.unknown_threshold
            right, kept = np.mean(named == held.labels), (named == bag) & bags
            print(
                f"| {kind} | {weight} | {right:.2%} | {kept.sum()} of {bags.sum()} | {np.sum(kept & known)} | "
                f"{np.sum((named == bag) & ~bags)} |"
            )


if __name__ == "__main__":
    main()
