"""How well a model names garments in product pictures: the case that Fashion-MNIST itself was made from.

    python benchmarks/product_pictures.py [--model FILE]

Half of the sample of test images, inverted, enlarged smoothly to 80 to 400 pixels, tinted, with some ground around.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fmnist_edge import Classifier
from fmnist_edge_export.data import load_sample

Floats = npt.NDArray[np.float64]
KINDS = ("white", "grey", "colour", "white, noise and a gradient", "grey, noise and a gradient", "transparent")
ARTICLE = 12  # what is lighter in a training image belongs to the article


def product_picture(image: npt.NDArray[np.uint8], kind: str, rng: np.random.Generator) -> Image.Image:
    """Return a picture as a shop would show it, of an image ``[28, 28]``, light on black."""
    side = int(rng.integers(80, 400))
    light, inside = _enlarged(image, side), _enlarged((image > ARTICLE) * np.uint8(255), side)
    tint = rng.uniform(0.6, 1, 3)
    cloth = (1 - light)[..., None] * tint * 255
    if kind == "transparent":
        return Image.fromarray(np.dstack([cloth, inside * 255]).clip(0, 255).astype(np.uint8))
    levels = {"white": 255.0, "grey": rng.uniform(150, 220), "colour": rng.uniform(90, 255, 3)}[kind.split(",")[0]]
    ground = np.broadcast_to(levels, (*light.shape, 3)).copy()
    noise: Floats | float = 0.0
    if "noise" in kind:
        down, across = np.mgrid[0 : 1 : len(light) * 1j, 0 : 1 : len(light) * 1j]
        ground *= (1 - 0.25 * (across * rng.random() + down * rng.random()))[..., None]
        noise = rng.normal(0, 6, ground.shape)
    picture = ground + inside[..., None] * (cloth - ground) + noise
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def _enlarged(image: npt.NDArray[np.uint8], side: int) -> Floats:
    """Return ``image`` at ``side`` pixels, 0 to 1, with black around it."""
    large = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC), np.float64)
    return np.pad(large / 255, int(side * 0.15))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    classifier = Classifier(parser.parse_args().model)
    sample = load_sample()
    images, labels = sample.images[::2], sample.labels[::2]
    print(f"| ground | right, of {len(images)} |\n| --- | --- |")
    print(f"| (the images themselves) | {np.mean(classifier.probabilities(images).argmax(1) == labels):.1%} |")
    for kind in KINDS:
        rng = np.random.default_rng(0)
        answers = classifier.predict_many(product_picture(image, kind, rng) for image in images)
        right = [answer.label == classifier.labels[label] for answer, label in zip(answers, labels, strict=True)]
        print(f"| {kind} | {np.mean(right):.1%} |")


if __name__ == "__main__":
    main()
