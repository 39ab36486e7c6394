"""How well a model names garments in photographs, and what it takes for a garment that is none.

    python benchmarks/photographs.py FOLDER [--model FILE]

FOLDER holds a folder of .jpg files for each garment below, and may hold others (hat, shorts, skirt) that Fashion-MNIST
does not know. Photographs whose name begins with 0 to 7 are those that the reader was made with; the others are held
out. Pictures of no garment are generated from a fixed seed, 100 of each kind.
"""

import argparse
import string
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fmnist_edge import Classifier, Prediction

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
COUNT = 100
SIDE = 160


def flat(rng: np.random.Generator) -> Image.Image:
    """One colour."""
    return Image.new("RGB", (SIDE, SIDE), tuple(rng.integers(0, 256, 3).tolist()))


def noise(rng: np.random.Generator) -> Image.Image:
    """Coloured noise, fine to coarse."""
    side = int(rng.integers(2, SIDE))
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).resize((SIDE, SIDE))


def gradient(rng: np.random.Generator) -> Image.Image:
    """A ramp from one colour to another in any direction, or from the middle outwards."""
    down, across = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.hypot(down, across) if rng.random() < 0.3 else across * np.cos(angle) + down * np.sin(angle)
    share = ((ramp - ramp.min()) / np.ptp(ramp))[..., None]
    one, other = rng.integers(0, 256, (2, 3))
    return Image.fromarray((one + share * (other - one)).round().astype(np.uint8))


def text(rng: np.random.Generator) -> Image.Image:
    """Lines of words, dark on light or light on dark."""
    letters = list(string.ascii_letters + "      ")
    lines = ["".join(rng.choice(letters, 24)) for _ in range(14)]
    return _written("\n".join(lines), int(rng.integers(10, 30)), rng)


def digit(rng: np.random.Generator) -> Image.Image:
    """One large digit."""
    return _written(str(rng.integers(0, 10)), int(rng.integers(80, 150)), rng)


def _written(words: str, size: int, rng: np.random.Generator) -> Image.Image:
    ink, paper = (30, 230) if rng.random() < 0.5 else (230, 30)
    picture = Image.new("L", (SIDE, SIDE), paper)
    place = (float(rng.uniform(5, 50)), float(rng.uniform(-10, 20)))
    ImageDraw.Draw(picture).text(place, words, fill=ink, font=ImageFont.load_default(size=size))
    return picture


def shapes(rng: np.random.Generator) -> Image.Image:
    """One to five coloured polygons and ellipses."""
    picture = Image.new("RGB", (SIDE, SIDE), tuple(rng.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(1, 6)):
        colour = tuple(rng.integers(0, 256, 3).tolist())
        left, top, wide, high = rng.integers(10, SIDE // 2, 4).tolist()
        if rng.random() < 0.5:
            draw.ellipse((left, top, left + wide, top + high), fill=colour)
        else:
            draw.polygon([tuple(point) for point in rng.integers(0, SIDE, (5, 2)).tolist()], fill=colour)
    return picture


KINDS: tuple[Callable[[np.random.Generator], Image.Image], ...] = (flat, noise, gradient, text, digit, shapes)


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
    for kind in KINDS:
        rng = np.random.default_rng(0)
        shares.append(refused(classifier.predict_many([kind(rng) for _ in range(COUNT)])))
        print(f"| {kind.__name__} | {shares[-1]:.0%} |")
    print(f"| mean of these | {np.mean(shares):.0%} |")
    others = [
        folder for folder in sorted(arguments.folder.iterdir()) if folder.is_dir() and folder.name not in ACCEPTED
    ]
    foreign = [answer for folder in others for answer in classifier.predict_many(sorted(folder.glob("*.jpg")))]
    if foreign:
        print(f"| {', '.join(folder.name for folder in others)} | {refused(foreign):.0%} |")
    print(f"| garments of the ten | {refused(kept):.0%} |")
    if foreign:
        print(f"\nAUROC of the confidence, the ten against the others: {auroc(kept, foreign):.3f}")


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
