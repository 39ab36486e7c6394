"""Pictures of no garment, for a network to learn that it does not know them.

Outlier exposure: Hendrycks, Mazeika and Dietterich 2019 (arXiv 1812.04606). All are generated, and read by the picture
reader as any picture is. Overlapping blots with the statistics of natural images stand for photographs of anything
("dead leaves", as in Baradad et al. 2021, arXiv 2106.05963).
"""

import itertools
import math
import string
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fmnist_edge_runtime.reader import read_picture
from fmnist_edge_runtime.session import Images

_SIDE = 84  # pixels; the reader shrinks them to 56, as it does photographs
_WEIGHT = 0.5  # of the loss, as in the paper


def doubt_loss(logits: Tensor) -> Tensor:
    """Return how far logits ``[n, K]`` are from giving every label the same chance: 0 if they do, or if n is 0."""
    if not len(logits):
        return logits.sum()
    return _WEIGHT * (logits.logsumexp(1) - logits.mean(1) - math.log(logits.shape[1])).mean()


def turned(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures ``[S, 1, H, W]``, each turned and mirrored one of eight ways."""
    ways = torch.randint(8, (len(pictures),), generator=generator)
    result = pictures.clone()
    for way in range(1, 8):
        chosen = ways == way
        turn = pictures[chosen].rot90(way % 4, (2, 3))
        result[chosen] = turn.flip(3) if way >= 4 else turn
    return result


def strangers(images: Images, count: int, seed: int) -> Images:
    """Return uint8 ``[count, H, W]``: generated pictures, training ``images`` in pieces, as the reader shows them.

    What the reader finds nothing in by itself, as in most gradients, is left out: the network is never asked about it.
    """
    rng = np.random.default_rng(seed)
    height, width = images.shape[1:]
    readings = (read_picture(draw(rng, images), height, width) for draw in itertools.cycle(_KINDS))
    found = (reading.pixels for reading in readings if reading.found)
    return np.stack(list(itertools.islice(found, count)))


def _ramp(rng: np.random.Generator, _images: Images) -> Image.Image:
    """One colour turning into another in a direction, from the middle, or like sky and land."""
    down, across = np.mgrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.hypot(down, across) if rng.random() < 0.3 else across * np.cos(angle) + down * np.sin(angle)
    share = 1 / (1 + np.exp(-float(rng.choice([1.0, 3.0, 20.0])) * (slope - rng.uniform(-0.5, 0.5))))
    share = (share - share.min()) / np.ptp(share)
    one, other = rng.uniform(0, 255, (2, 3))
    picture = one + share[..., None] * (other - one) + rng.normal(0, rng.choice([0, 2, 8]), (_SIDE, _SIDE, 1))
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def _blots(rng: np.random.Generator, _images: Images) -> Image.Image:
    """Coloured blots of all sizes, the latest on top: few are shapes on a ground, many are a scene."""
    picture = Image.new("RGB", (_SIDE, _SIDE), _colour(rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(np.exp(rng.uniform(0, 5)))):
        size = 3 / rng.uniform(0.06, 1) ** rng.uniform(0.8, 1.2)
        x, y = rng.uniform(0, _SIDE, 2)
        if rng.random() < 0.5:
            squeezed = size * rng.uniform(0.4, 1)
            draw.ellipse((x - size, y - squeezed, x + size, y + squeezed), fill=_colour(rng))
        else:
            turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
            corners = [(x + size * np.cos(turn), y + size * np.sin(turn)) for turn in turns]
            draw.polygon(corners, fill=_colour(rng))
    grain = rng.normal(0, rng.choice([0, 4, 16]), (_SIDE, _SIDE, 3))
    return Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8))


def _writing(rng: np.random.Generator, _images: Images) -> Image.Image:
    """A page of words, a few letters, or one sign; some of the signs light on black and small, as digits come."""
    ink, paper = _colour(rng), _colour(rng)
    kind = rng.integers(3)
    signs = list(string.ascii_letters + string.digits + "    ")
    if kind == 0:
        words = "\n".join("".join(rng.choice(signs, 20)) for _ in range(12))
        size = rng.uniform(6, 16)
    else:
        words, size = "".join(rng.choice(signs[:-4], 1 if kind == 1 else 3)), rng.uniform(30, 90)
        if rng.random() < 0.5:
            ink, paper = (255, 255, 255), (0, 0, 0)
    font = ImageFont.load_default(size=size)
    picture = Image.new("RGB", (_SIDE, _SIDE), paper)
    draw = ImageDraw.Draw(picture)
    middle = (_SIDE / 2 + rng.normal(0, 5), _SIDE / 2 + rng.normal(0, 5))
    draw.multiline_text(middle, words, fill=ink, font=font, anchor="mm", stroke_width=int(rng.integers(0, 3)))
    picture = picture.rotate(rng.normal(0, 10), fillcolor=paper)
    return picture.convert("L").resize((28, 28), Image.Resampling.BOX) if rng.random() < 0.3 else picture


def _stripes(rng: np.random.Generator, _images: Images) -> Image.Image:
    """Stripes, checks and rings of two colours, sharp or soft."""
    down, across = np.mgrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j]
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(6, 60)
    wave = np.sin(pitch * (across * np.cos(angle) + down * np.sin(angle)))
    kind = rng.integers(3)
    if kind == 1:
        wave = wave * np.sin(pitch * (down * np.cos(angle) - across * np.sin(angle)))
    elif kind == 2:
        wave = np.sin(pitch * np.hypot(across - rng.uniform(-0.5, 0.5), down - rng.uniform(-0.5, 0.5)))
    share = 1 / (1 + np.exp(-rng.choice([2.0, 20.0]) * wave))[..., None]
    one, other = rng.uniform(0, 255, (2, 3))
    return Image.fromarray((one + share * (other - one)).astype(np.uint8))


def _shuffled(rng: np.random.Generator, images: Images) -> Image.Image:
    """A training image cut into squares that change places, or pixels that do: its greys without its shape."""
    image = images[rng.integers(len(images))]
    side = int(rng.choice([4, 7, 14]))
    rows, columns = image.shape[0] // side, image.shape[1] // side
    squares = image[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)
    squares = squares.reshape(rows * columns, side, side)
    mixed = rng.permuted(squares, axis=0) if rng.random() < 0.3 else rng.permutation(squares)
    if np.array_equal(mixed, squares):
        mixed = np.roll(mixed, 1, axis=0)
    return Image.fromarray(mixed.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, -1))


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


_KINDS: tuple[Callable[[np.random.Generator, Images], Image.Image], ...] = (
    _ramp,
    _blots,
    _blots,
    _writing,
    _writing,
    _stripes,
    _shuffled,
)
