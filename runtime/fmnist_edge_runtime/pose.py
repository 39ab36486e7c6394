"""An article as it lies in a photograph, turned and folded as Fashion-MNIST shows its own: upright, arms hanging."""

import functools

import numpy as np
import numpy.typing as npt
from PIL import Image

from fmnist_edge_runtime.colours import Floats
from fmnist_edge_runtime.cutout import Mask

_TURNS = np.arange(-40, 41, 5)  # degrees
_FARTHEST = 30  # degrees; what would have to be turned further was laid askew on purpose, or is no garment
_WORTH_A_DEGREE = 0.004  # of overlap with the mirror image; keeps what is about as good as it lies
_WIDE = 0.75  # of the height; what is narrower has no arms spread out
_FULL = 0.6  # of the height; columns that the article fills less are arms, and get narrower,
_NARROWEST = 0.5  # though never more than that
_WIDEST = 6 / 7  # of the frame; 9 in 10 tops of the training set are at most a pixel wider


def slant(mask: Mask) -> int:
    """Return the degrees to turn by, counter-clockwise, for the article to be most like its mirror image."""
    likeness = _likeness(mask) - _WORTH_A_DEGREE * np.abs(_TURNS)
    best = int(_TURNS[likeness.argmax()])
    return best if abs(best) <= _FARTHEST else 0


def _likeness(mask: Mask) -> Floats:
    """Return for each turn how much of the article and its mirror image, about an axis so tilted, is common to both."""
    rows, columns = np.nonzero(mask)
    down, across = rows - rows.mean(), columns - columns.mean()
    cosine, sine = np.cos(np.radians(2 * _TURNS))[:, None], np.sin(np.radians(2 * _TURNS))[:, None]
    row = np.round(rows.mean() + down * cosine - across * sine).astype(np.int64)
    column = np.round(columns.mean() - down * sine - across * cosine).astype(np.int64)
    inside = (row >= 0) & (row < mask.shape[0]) & (column >= 0) & (column < mask.shape[1])
    kept = (inside & mask[np.where(inside, row, 0), np.where(inside, column, 0)]).mean(1)
    return np.asarray(kept / (2 - kept), np.float32)


def turned(picture: Floats, mask: Mask, degrees: int) -> tuple[Floats, Mask]:
    """Turn an article on black ``[H, W]`` and its mask; the results are large enough for all of both.

    Specks that would vanish in turning stay as they are.
    """
    if degrees == 0:
        return picture, mask
    turn = functools.partial(Image.Image.rotate, angle=degrees, resample=Image.Resampling.BILINEAR, expand=True)
    inside = np.asarray(turn(Image.fromarray(mask).convert("L"))) > 127
    if not inside.any():
        return picture, mask
    return np.where(inside, np.asarray(turn(Image.fromarray(picture))), np.float32(0)), inside


def fold_arms(picture: Floats, mask: Mask, height: int, width: int) -> npt.NDArray[np.uint8] | None:
    """Return the article in the box ``picture`` ``[H, W]`` filling the frame's height, its arms beside it.

    None for what is too narrow to have its arms spread. Clothes are laid out with arms to the sides; in Fashion-MNIST
    they hang, so that tops fill the height like all else but shoes and bags.
    """
    tall, wide = mask.shape
    if wide < _WIDE * tall:
        return None
    shares = np.clip(mask.mean(0) / _FULL, _NARROWEST, 1)
    inner = max(1, min(round(float(shares.sum()) * height / tall), round(_WIDEST * width)))
    across = _overlaps(np.concatenate([[0], np.cumsum(shares)]) * (inner / shares.sum()), inner)
    down = _overlaps(np.arange(tall + 1) * (height / tall), height)
    frame = np.zeros((height, width), np.uint8)
    left = (width - inner + 1) // 2
    frame[:, left : left + inner] = (down.T @ picture @ across).round()
    return frame


def _overlaps(edges: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Return ``[n, count]`` weights that average ``n`` cells, given by ``n + 1`` edges, into cells of length 1."""
    starts = np.arange(count)
    common = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    common = np.maximum(common, 0)
    return np.asarray(common / common.sum(0))
