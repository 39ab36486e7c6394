"""Which pixels of a photograph are the article, told by their colours and where they are.

Colour models of article and ground, each a mixture of Gaussians, are fitted in turn with the mask that they give, as
GrabCut does (Rother, Kolmogorov and Blake 2004). Instead of a graph cut, neighbours of like colour are pulled together
by a random walker with priors (Grady 2005): it needs nothing but sums. What replaces GrabCut's rectangle is the belief
that the article is in the middle; each round trusts it less and the colours more.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_TRUST_IN_CENTRE = (0.7, 0.5, 0.3, 0.15)  # by round
_TRUST_IN_COLOUR = 0.5
_TRUST_IN_PIXEL = 0.2  # against its neighbours
_STEPS = 25  # of the random walker
_LIGHTNESS = 0.7  # shadows change lightness, seldom hue
_GROUND_COLOURS, _ARTICLE_COLOURS = 5, 4
_SOFTEST = 9.0  # variance below which no colour is narrower, Lab units squared
_PART = 0.2  # parts of the article are at least this share of the largest one
_HOLE = 0.03  # holes smaller than this share of the article are filled


def cut_out(colours: npt.NDArray[np.uint8]) -> Mask:
    """Return bool ``[H, W]``, true on the article, for sRGB ``[H, W, 3]``; best at about 56 pixels a side."""
    lab = to_lab(colours)
    lab[..., 0] *= _LIGHTNESS
    height, width, _ = lab.shape
    pixels = lab.reshape(-1, 3)
    walker = _Walker(lab)
    centre = _centre(height, width)
    belief = np.log(centre / (1 - centre))
    article = centre.copy()
    article[:2], article[-2:], article[:, :2], article[:, -2:] = 0.03, 0.03, 0.03, 0.03
    for trust in _TRUST_IN_CENTRE:
        share = article.ravel()
        ground_model = Mixture.fit(pixels, (1 - share) ** 2, _GROUND_COLOURS)
        article_model = Mixture.fit(pixels, share**2, _ARTICLE_COLOURS)
        evidence = (article_model.log_density(pixels) - ground_model.log_density(pixels)).reshape(height, width)
        odds = np.clip(_TRUST_IN_COLOUR * evidence + trust * belief, -8, 8)
        article = walker.smooth(1 / (1 + np.exp(-odds)))
    return _tidy(article > 0.5)


def to_lab(colours: npt.NDArray[np.uint8]) -> Floats:
    """Return CIE L*a*b* (white D65), float32, for sRGB pixels ``[..., 3]``."""
    linear = _LINEAR[colours]
    ratios = linear @ _TO_XYZ.T
    roots = np.where(ratios > 0.008856, np.cbrt(ratios), 7.787 * ratios + 16 / 116)
    x, y, z = roots[..., 0], roots[..., 1], roots[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1).astype(np.float32)


_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
_TO_XYZ = np.array(
    [
        [0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883],
    ],
    np.float32,
)


def _centre(height: int, width: int) -> Floats:
    """Return the chance that a pixel is the article by its place alone: high in the middle, low at the border."""
    down = np.abs((np.arange(height, dtype=np.float32) + 0.5) / height * 2 - 1)[:, None]
    across = np.abs((np.arange(width, dtype=np.float32) + 0.5) / width * 2 - 1)[None]
    from_centre = np.maximum(across, 0.95 * down)
    return np.asarray(1 / (1 + np.exp(-6 * (0.62 - from_centre))), np.float32)


@dataclass(frozen=True)
class Mixture:
    """Gaussians with diagonal covariance: ``means`` and ``variances`` ``[k, 3]``, ``logs`` ``[k]`` of their shares."""

    means: Floats
    variances: Floats
    logs: Floats

    @classmethod
    def fit(cls, pixels: Floats, weights: Floats, count: int) -> "Mixture":
        """Fit ``count`` Gaussians to weighted ``pixels`` ``[N, 3]`` by five steps of expectation and maximisation."""
        heavy = weights > 0.3
        if heavy.sum() < 4 * count:
            heavy = weights >= np.sort(weights)[-min(len(weights), 8 * count)]
        means = _spread_means(pixels[heavy], count)
        mixture = cls(means, np.full_like(means, 60.0), np.full(count, -np.log(count), np.float32))
        squares = pixels * pixels
        for _ in range(5):
            logs = mixture._component_logs(pixels)
            shares = np.exp(logs - logs.max(1, keepdims=True))
            shares *= (weights / shares.sum(1))[:, None]
            totals = shares.sum(0) + np.float32(1e-6)
            means = shares.T @ pixels / totals[:, None]
            variances = np.maximum(shares.T @ squares / totals[:, None] - means * means, 0) + _SOFTEST
            mixture = cls(means, variances, np.log(totals / totals.sum() + 1e-9))
        return mixture

    def log_density(self, pixels: Floats) -> Floats:
        """Return ``[N]`` log densities, up to a constant, of ``pixels`` ``[N, 3]``."""
        logs = self._component_logs(pixels)
        largest = logs.max(1)
        return np.asarray(largest + np.log(np.exp(logs - largest[:, None]).sum(1)))

    def _component_logs(self, pixels: Floats) -> Floats:
        inverse = 1 / self.variances
        distances = (pixels * pixels) @ inverse.T - 2 * pixels @ (self.means * inverse).T
        distances += (self.means**2 * inverse).sum(1)
        return np.asarray(-0.5 * (distances + np.log(self.variances).sum(1)) + self.logs)


def _spread_means(pixels: Floats, count: int) -> Floats:
    """Return ``count`` means: the farthest pixel from all earlier ones each time, then four rounds of k-means."""
    means = pixels.mean(0, keepdims=True)
    nearest = ((pixels - means) ** 2).sum(1)
    for _ in range(count - 1):
        means = np.concatenate([means, pixels[nearest.argmax()][None]])
        nearest = np.minimum(nearest, ((pixels - means[-1]) ** 2).sum(1))
    for _ in range(4):
        owner = ((means**2).sum(1) - 2 * pixels @ means.T).argmin(1)
        members = (owner[:, None] == np.arange(count)).astype(np.float32)
        sizes = members.sum(0)[:, None]
        means = np.where(sizes > 0, members.T @ pixels / np.maximum(sizes, 1), means)
    return np.asarray(means, np.float32)


class _Walker:
    """Spreads probabilities over a picture, less across edges of colour."""

    def __init__(self, lab: Floats) -> None:
        across = ((lab[:, 1:] - lab[:, :-1]) ** 2).sum(-1)
        down = ((lab[1:] - lab[:-1]) ** 2).sum(-1)
        steepness = 1 / (2 * (np.concatenate([across.ravel(), down.ravel()]).mean() + 4))
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
        for _ in range(8):
            numbers[1:] = np.maximum(numbers[1:], numbers[:-1])
            numbers[:-1] = np.maximum(numbers[:-1], numbers[1:])
            numbers[:, 1:] = np.maximum(numbers[:, 1:], numbers[:, :-1])
            numbers[:, :-1] = np.maximum(numbers[:, :-1], numbers[:, 1:])
            numbers *= mask
        if np.array_equal(before, numbers):
            return numbers
