"""Which pixels of a photograph are the article, told by their colours and where they are.

Colour models of article and ground, each a mixture of Gaussians, are fitted in turn with the mask that they give, as
GrabCut does (Rother, Kolmogorov and Blake 2004). Instead of a graph cut, neighbours of like colour are pulled together
by a random walker with priors (Grady 2005): it needs nothing but sums. What replaces GrabCut's rectangle is the belief
that the article is in the middle; each round trusts it less and the colours more.
"""

import numpy as np
import numpy.typing as npt

from fmnist_edge_runtime.colours import Floats, Mixture, Palette

Mask = npt.NDArray[np.bool_]

_TRUST_IN_CENTRE = (0.7, 0.6, 0.5, 0.3, 0.2, 0.15)  # by round
_TRUST_IN_COLOUR = 0.5
_MOST_ODDS = 8.0  # as a logarithm; no pixel is surer than that before its neighbours are asked
_TRUST_IN_PIXEL = 0.2  # against its neighbours
_STEPS = 16  # of the random walker
_GROUND_COLOURS, _ARTICLE_COLOURS = 5, 4
_RIM, _RIM_SHARE = 2, 0.03  # pixels at the border that start as ground, and how much they may be the article
_PART = 0.2  # parts of the article are at least this share of the largest one
_HOLE = 0.03  # holes smaller than this share of the article are filled


def cut_out(lab: Floats) -> Mask:
    """Return bool ``[H, W]``, true on the article, for CIELAB ``[H, W, 3]``; best at about 56 pixels a side."""
    palette, walker = Palette(lab), _Walker(lab)
    centre = _centre(*lab.shape[:2])
    belief = np.log(centre / (1 - centre))
    article = np.full_like(centre, _RIM_SHARE)
    inner = np.s_[_RIM:-_RIM, _RIM:-_RIM]
    article[inner] = centre[inner]
    models: tuple[Mixture, Mixture] | None = None
    for trust in _TRUST_IN_CENTRE:
        models = _models(palette, article, models)
        of_article, of_ground = (model.log_density(palette.colours) for model in models)
        odds = _TRUST_IN_COLOUR * palette.spread(of_article - of_ground) + trust * belief
        article = walker.smooth(1 / (1 + np.exp(-np.clip(odds, -_MOST_ODDS, _MOST_ODDS))))
    return _tidy(article > 0.5)


def outline_contrast(lab: Floats, mask: Mask) -> float:
    """Return how much neighbours differ across the outline of ``mask``, as a multiple of what they do on the whole.

    Where there is an article, its outline is among the steepest edges of the picture; what is cut out of noise or of a
    gradient has an outline like any other line.
    """
    across, down = np.sqrt(((lab[:, 1:] - lab[:, :-1]) ** 2).sum(-1)), np.sqrt(((lab[1:] - lab[:-1]) ** 2).sum(-1))
    outline = np.concatenate([across[mask[:, 1:] != mask[:, :-1]], down[mask[1:] != mask[:-1]]])
    if not outline.size:
        return 0.0
    return float(outline.mean() / (np.concatenate([across.ravel(), down.ravel()]).mean() + 1))


def _models(palette: Palette, article: Floats, before: tuple[Mixture, Mixture] | None) -> tuple[Mixture, Mixture]:
    """Return the colours of article and ground where ``article`` ``[H, W]`` is the chance that a pixel is the article.

    What is unsure counts little for either: chances are squared.
    """
    of_article, of_ground = palette.gather(article**2), palette.gather((1 - article) ** 2)
    if before is None:
        return (
            Mixture.fit(palette.colours, of_article, _ARTICLE_COLOURS),
            Mixture.fit(palette.colours, of_ground, _GROUND_COLOURS),
        )
    return before[0].refit(palette.colours, of_article), before[1].refit(palette.colours, of_ground)


def _centre(height: int, width: int) -> Floats:
    """Return the chance that a pixel is the article by its place alone: high in the middle, low at the border."""
    down = np.abs((np.arange(height, dtype=np.float32) + 0.5) / height * 2 - 1)[:, None]
    across = np.abs((np.arange(width, dtype=np.float32) + 0.5) / width * 2 - 1)[None]
    from_centre = np.maximum(across, 0.95 * down)
    return np.asarray(1 / (1 + np.exp(-6 * (0.62 - from_centre))), np.float32)


class _Walker:
    """Spreads probabilities over a picture, less across edges of colour."""

    def __init__(self, lab: Floats) -> None:
        across = ((lab[:, 1:] - lab[:, :-1]) ** 2).sum(-1)
        down = ((lab[1:] - lab[:-1]) ** 2).sum(-1)
        steepness = 1 / (np.concatenate([across.ravel(), down.ravel()]).mean() + 4)
        self.across = np.exp(-steepness * across) + np.float32(1e-3)
        self.down = np.exp(-steepness * down) + np.float32(1e-3)
        total = np.full(lab.shape[:2], _TRUST_IN_PIXEL, np.float32)
        total[:, 1:] += self.across
        total[:, :-1] += self.across
        total[1:] += self.down
        total[:-1] += self.down
        self.total = total

    def smooth(self, chances: Floats) -> Floats:
        """Return ``chances`` ``[H, W]`` after Jacobi steps towards the walker's equilibrium."""
        smoothed = chances
        for _ in range(_STEPS):
            pulled = _TRUST_IN_PIXEL * chances
            pulled[:, 1:] += self.across * smoothed[:, :-1]
            pulled[:, :-1] += self.across * smoothed[:, 1:]
            pulled[1:] += self.down * smoothed[:-1]
            pulled[:-1] += self.down * smoothed[1:]
            smoothed = pulled / self.total
        return smoothed


def _tidy(mask: Mask) -> Mask:
    """Drop small parts, fill small holes."""
    if not mask.any():
        return mask
    parts = _parts(mask)
    names, sizes = np.unique(parts[mask], return_counts=True)
    mask = np.isin(parts, names[sizes >= _PART * sizes.max()])
    grounds = _parts(~mask)
    outside = np.unique(np.concatenate([grounds[0], grounds[-1], grounds[:, 0], grounds[:, -1]]))
    inside = ~mask & ~np.isin(grounds, outside)
    names, sizes = np.unique(grounds[inside], return_counts=True)
    return np.asarray(mask | np.isin(grounds, names[sizes < _HOLE * mask.sum()]))


def _parts(mask: Mask) -> npt.NDArray[np.int64]:
    """Return a number above 0 for each 4-connected part of ``mask``, 0 elsewhere: the largest index in the part."""
    numbers = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        before = numbers.copy()
        numbers[1:] = np.maximum(numbers[1:], numbers[:-1])
        numbers[:-1] = np.maximum(numbers[:-1], numbers[1:])
        numbers[:, 1:] = np.maximum(numbers[:, 1:], numbers[:, :-1])
        numbers[:, :-1] = np.maximum(numbers[:, :-1], numbers[:, 1:])
        numbers *= mask
        numbers = np.append(0, numbers)[numbers]  # what now stands at the pixel that a number names
        if np.array_equal(before, numbers):
            return numbers
