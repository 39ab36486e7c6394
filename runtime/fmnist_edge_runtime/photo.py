"""A photograph as Fashion-MNIST would show it: the article alone, light on black, filling the frame."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from fmnist_edge_runtime.colours import Floats, to_lab
from fmnist_edge_runtime.cutout import Mask, cut_out, outline_contrast
from fmnist_edge_runtime.fmnist_form import fit
from fmnist_edge_runtime.pose import fold_arms, slant, turned

Views = npt.NDArray[np.uint8]

_SIDE = 56  # pixels of the longest side while cutting out: twice the network's
_SMALLEST = 8  # pixels of the shortest side, below which nothing can be told apart
_FLATTEST = 6  # levels between the darkest and the lightest pixel of any channel, below which nothing is shown
_FAINTEST_OUTLINE = 1.5  # times the contrast of the whole picture; 1 in 200 photographs of clothes is below
# What greys an article's 3rd to 97th percentile are stretched over, and by how many degrees more it is turned.
_GREYS_AND_TURNS = (((40, 230), 0), ((0, 255), 5), ((0, 255), -5))
_LEAST_SPAN = 40  # levels; a plain article's creases are not blown up further
# Whatever is cut out wrongly looks like a bag, to networks of these labels: what one's probability counts for.
_GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Ankle boot")
WEIGHTS = {"Bag": 0.6} | dict.fromkeys(_GARMENTS, 1.0)


@dataclass(frozen=True)
class Article:
    """What was cut out of a photograph: ``views`` uint8 ``[V, height, width]``, and ``mask`` of the picture, shrunk.

    The views show one article in different greys and poses; what a network takes each of them for is to be averaged.
    ``clear`` is false where the outline is no sharper than the rest of the picture: noise, gradients, close-ups.
    """

    views: Views
    mask: Mask
    clear: bool


def find_article(image: Image.Image, height: int, width: int) -> Article | None:
    """Return the article in ``image``, or None if there is nothing to see.

    Where the picture has transparency, that is the mask; else the article is told from its ground by ``cutout.py``.
    """
    small = _shrunk(image)
    if min(small.size) < _SMALLEST:
        return None
    colours, mask, clear = np.asarray(small.convert("RGB")), None, True
    if small.mode == "RGBA":
        alpha = np.asarray(small)[..., 3]
        mask = alpha >= 128 if alpha.min() < 128 else None
    if mask is None:
        if (colours.max((0, 1)).astype(int) - colours.min((0, 1))).max() < _FLATTEST:
            return None
        lab = to_lab(colours)
        mask = cut_out(lab)
        clear = outline_contrast(lab, mask) >= _FAINTEST_OUTLINE
    if mask.sum() < _SMALLEST**2 // 4:
        return None
    return Article(_views(np.asarray(small.convert("L"), np.float32), mask, height, width), mask, clear)


def _views(grey: Floats, mask: Mask, height: int, width: int) -> Views:
    """Return the article in its greys and turns, as it lies and, if its arms are spread, folded; and all mirrored."""
    degrees = slant(mask)
    lying, folded = [], []
    for (darkest, lightest), further in _GREYS_AND_TURNS:
        article, inside = _boxed(*turned(_toned(grey, mask, darkest, lightest), mask, degrees + further))
        lying.append(fit(Image.fromarray(article.round().astype(np.uint8)), height, width))
        folded.append(fold_arms(article, inside, height, width))
    views = lying
    if any(view is not None for view in folded):  # what lies too narrow at one turn counts twice, as the others do
        pairs = zip(lying, folded, strict=True)
        views = [view for flat, fold in pairs for view in (flat, flat if fold is None else fold)]
    return np.stack(views + [view[:, ::-1] for view in views])


def _boxed(picture: Floats, mask: Mask) -> tuple[Floats, Mask]:
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.ascontiguousarray(picture[box]), mask[box]


def _shrunk(image: Image.Image) -> Image.Image:
    """Return RGB or RGBA with ``_SIDE`` pixels on the longest side; a smaller picture keeps its size."""
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    scale = _SIDE / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BOX)


def _toned(grey: Floats, mask: Mask, darkest: int, lightest: int) -> Floats:
    """Return the article's negative on black, its greys stretched over those of the training set.

    Fashion-MNIST shows the negatives of product pictures (Xiao, Rasul and Vollgraf 2017, section 2).
    """
    low, high = np.percentile(grey[mask], (3, 97))
    span = max(high - low, _LEAST_SPAN)
    start = (low + high - span) / 2
    negative = 1 - np.clip((grey - start) / span, 0, 1)
    return np.asarray(np.where(mask, darkest + (lightest - darkest) * negative, 0), np.float32)


def weighed(probabilities: list[float], labels: tuple[str, ...]) -> list[float]:
    """Return what a network takes the article for, corrected for what cut-outs are mistaken for.

    Of other labels than Fashion-MNIST's nothing is known, and theirs stay as they are. The correction of a classifier's
    answers to other chances of the labels (Saerens, Latinne and Decaestecker 2002, "Adjusting the outputs of a
    classifier to new a priori probabilities", equation 2.4).
    """
    if set(labels) != WEIGHTS.keys():
        return probabilities
    products = [WEIGHTS[label] * probability for label, probability in zip(labels, probabilities, strict=True)]
    total = sum(products)
    return [product / total for product in products]
