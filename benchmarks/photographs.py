"""How well a model names garments in photographs, and what it takes for a garment that is none.

    python benchmarks/photographs.py FOLDER [--model FILE]

FOLDER holds a folder of .jpg files for each garment below, and may hold others (hat, shorts, skirt) that Fashion-MNIST
does not know. Photographs whose name begins with 0 to 7 are those that the reader was made with; the others are held
out. Beside them: pictures of no garment (no_garments.py), and all test images. Needs the [export] and [peers] extras.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import no_garments
import numpy as np

from fmnist_edge import Classifier, Prediction
from fmnist_edge_export.data import load

ACCEPTED = {
    "dress": {"Dress"},
    "longsleeve": {"Pullover", "Shirt"},
    "outwear": {"Coat"},
    "pants": {"Trouser"},
    "shirt": {"Shirt"},
    "t-shirt": {"T-shirt/top"},
    "shoes": {"Sandal", "Sneaker", "Ankle boot"},
}
MADE_WITH = "01234567"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    classifier = Classifier(arguments.model)
    kept: list[Prediction] = []
    print("| photographs | " + " | ".join(ACCEPTED) + " | six | all |")
    print("| --- " * (len(ACCEPTED) + 3) + "|")
    for name, chosen in (("made with", True), ("held out", False)):
        rates = {}
        for garment, accepted in ACCEPTED.items():
            answers = list(classifier.predict_many(photographs(arguments.folder / garment, chosen)))
            rates[garment] = float(np.mean([answer.label in accepted for answer in answers]))
            kept += answers
        six = float(np.mean([rate for garment, rate in rates.items() if garment != "shoes"]))
        cells = [*rates.values(), six, float(np.mean(list(rates.values())))]
        print(f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    print("\n| pictures | refused |\n| --- | --- |")
    shares = []
    for kind, pictures in no_garments.pictures().items():
        shares.append(refused(classifier.predict_many(pictures)))
        print(f"| {kind} | {shares[-1]:.0%} |")
    print(f"| mean of these | {np.mean(shares):.1%} |")
    others = [
        folder for folder in sorted(arguments.folder.iterdir()) if folder.is_dir() and folder.name not in ACCEPTED
    ]
    foreign = [answer for folder in others for answer in classifier.predict_many(sorted(folder.glob("*.jpg")))]
    if foreign:
        print(f"| {', '.join(folder.name for folder in others)} | {refused(foreign):.0%} |")
    print(f"| photographs of the ten | {refused(kept):.0%} |")
    print(f"| test images | {refused(classifier.predict_many(load('test').images)):.1%} |")
    if foreign:
        print(f"\nAUROC of the confidence, photographs of the ten against the others: {auroc(kept, foreign):.3f}")


def photographs(folder: Path, made_with: bool) -> list[Path]:
    """Return the photographs of one garment that the reader was made with, or the others."""
    return [path for path in sorted(folder.glob("*.jpg")) if (path.name[0] in MADE_WITH) == made_with]


def refused(answers: Iterable[Prediction]) -> float:
    """Return the share of answers that say unknown."""
    return float(np.mean([not answer.known for answer in answers]))


def auroc(known: list[Prediction], foreign: list[Prediction]) -> float:
    """Return the chance that a garment of the ten gets more confidence than another one; ties count half."""
    ours, theirs = (np.array([answer.confidence for answer in answers]) for answers in (known, foreign))
    return float(((ours[:, None] > theirs) + 0.5 * (ours[:, None] == theirs)).mean())


if __name__ == "__main__":
    main()
