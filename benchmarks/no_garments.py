"""Pictures of no garment, 100 of each kind: generated, or brought along by scikit-image and scikit-learn."""

import string
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data
from sklearn import datasets

COUNT = 100
SIDE = 160
_SCENES = ("astronaut", "camera", "cat", "coffee", "coins", "hubble_deep_field", "moon", "retina", "rocket")
_TEXTURES = ("brick", "cell", "grass", "gravel", "immunohistochemistry")
_PAGES = ("page", "text")


def pictures() -> dict[str, list[Image.Image]]:
    """Return the pictures of each kind, the same ones whenever they are asked for."""
    scenes = [getattr(data, name)() for name in _SCENES] + datasets.load_sample_images().images
    return {
        "plain colours": _drawn(_flat),
        "noise": _drawn(_noise),
        "gradients": _drawn(_gradient),
        "shapes": _drawn(_shapes),
        "written text": _drawn(_text),
        "written digits": _drawn(_digit),
        "scanned text": _crops([getattr(data, name)() for name in _PAGES]),
        "handwritten digits": [_grey(digit / 16).resize((28, 28)) for digit in datasets.load_digits().images[:COUNT]],
        "faces": [_grey(face) for face in data.lfw_subset()[:COUNT]],  # the second hundred are pieces of backgrounds
        "scenes": _crops(scenes),
        "textures": _crops([getattr(data, name)() for name in _TEXTURES]),
    }


def _drawn(draw: Callable[[np.random.Generator], Image.Image]) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [draw(rng) for _ in range(COUNT)]


def _crops(wholes: list[np.ndarray]) -> list[Image.Image]:
    """Return squares from 64 pixels a side to all of the picture, from each picture in turn."""
    rng = np.random.default_rng(0)
    crops = []
    for number in range(COUNT):
        whole = Image.fromarray(wholes[number % len(wholes)])
        side = int(rng.integers(64, min(whole.size) + 1))
        left, top = (int(rng.integers(0, length - side + 1)) for length in whole.size)
        crops.append(whole.crop((left, top, left + side, top + side)))
    return crops


def _grey(levels: np.ndarray) -> Image.Image:
    """Return a picture of levels from 0 to 1."""
    return Image.fromarray((levels * 255).round().astype(np.uint8))


def _flat(rng: np.random.Generator) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), _colour(rng))


def _noise(rng: np.random.Generator) -> Image.Image:
    """Draw coloured noise, fine to coarse."""
    side = int(rng.integers(2, SIDE))
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).resize((SIDE, SIDE))


def _gradient(rng: np.random.Generator) -> Image.Image:
    """Draw a ramp from one colour to another in any direction, or from the middle outwards."""
    down, across = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.hypot(down, across) if rng.random() < 0.3 else across * np.cos(angle) + down * np.sin(angle)
    share = ((ramp - ramp.min()) / np.ptp(ramp))[..., None]
    one, other = rng.integers(0, 256, (2, 3))
    return Image.fromarray((one + share * (other - one)).round().astype(np.uint8))


def _text(rng: np.random.Generator) -> Image.Image:
    """Write lines of words, dark on light or light on dark."""
    letters = list(string.ascii_letters + "      ")
    lines = ["".join(rng.choice(letters, 24)) for _ in range(14)]
    return _written("\n".join(lines), int(rng.integers(10, 30)), rng)


def _digit(rng: np.random.Generator) -> Image.Image:
    return _written(str(rng.integers(0, 10)), int(rng.integers(80, 150)), rng)


def _written(words: str, size: int, rng: np.random.Generator) -> Image.Image:
    ink, paper = (30, 230) if rng.random() < 0.5 else (230, 30)
    picture = Image.new("L", (SIDE, SIDE), paper)
    place = (float(rng.uniform(5, 50)), float(rng.uniform(-10, 20)))
    ImageDraw.Draw(picture).text(place, words, fill=ink, font=ImageFont.load_default(size=size))
    return picture


def _shapes(rng: np.random.Generator) -> Image.Image:
    """Draw one to five coloured polygons and ellipses."""
    picture = Image.new("RGB", (SIDE, SIDE), _colour(rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(1, 6)):
        colour = _colour(rng)
        left, top, wide, high = rng.integers(10, SIDE // 2, 4).tolist()
        if rng.random() < 0.5:
            draw.ellipse((left, top, left + wide, top + high), fill=colour)
        else:
            draw.polygon([tuple(point) for point in rng.integers(0, SIDE, (5, 2)).tolist()], fill=colour)
    return picture


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue
