"""Colours as the cut-out sees them: CIE L*a*b*, gathered into some 80, and mixtures of Gaussians over those."""

from dataclasses import dataclass

import numpy as np
import numpy.ma  # np.unique would import it when it is called, perhaps amid a fork
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_CELL = 8  # Lab units; colours nearer than that are one to the mixtures
_SOFTEST = 9.0  # variance below which no colour is narrower, Lab units squared
_FIRST_VARIANCE = 60.0
_ROUNDS = 5  # of k-means, then of expectation and maximisation, at the start
_REFINING_ROUNDS = 3  # from an earlier mixture on
_FAINT = 0.02  # colours of less weight than this share of the heaviest start no Gaussian


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


class Palette:
    """The different colours of a picture: ``colours`` ``[M, 3]``, the means of what lies in one cell of Lab.

    A photograph of 56 x 56 pixels has about 80, seldom more than 150: mixtures are fitted to those, not to each pixel.
    """

    def __init__(self, lab: Floats) -> None:
        """Gather the pixels of ``lab`` ``[H, W, 3]``."""
        self._shape = lab.shape[:2]
        pixels = lab.reshape(-1, 3)
        cells = np.floor(pixels / _CELL).astype(np.int64)
        _, self._which = np.unique(cells @ np.array([1 << 20, 1 << 10, 1]), return_inverse=True)
        self.colours = np.stack([self.gather(channel) for channel in pixels.T], 1)
        self.colours /= self.gather(np.ones(len(pixels), np.float32))[:, None]

    def gather(self, values: Floats) -> Floats:
        """Return ``[M]`` sums by colour of ``values``, one for each pixel."""
        return np.bincount(self._which, values.ravel()).astype(np.float32)

    def spread(self, values: Floats) -> Floats:
        """Return ``[H, W]``, each pixel with its colour's value of ``values`` ``[M]``."""
        return np.asarray(values[self._which].reshape(self._shape))


@dataclass(frozen=True)
class Mixture:
    """Gaussians with diagonal covariance: ``means`` and ``variances`` ``[k, 3]``, ``logs`` ``[k]`` of their shares."""

    means: Floats
    variances: Floats
    logs: Floats

    @classmethod
    def fit(cls, colours: Floats, weights: Floats, count: int) -> "Mixture":
        """Fit ``count`` Gaussians to weighted ``colours`` ``[M, 3]``."""
        means = _spread_means(colours, weights, count)
        start = cls(means, np.full_like(means, _FIRST_VARIANCE), np.full(count, -np.log(count), np.float32))
        return start._improved(colours, weights, _ROUNDS)

    def refit(self, colours: Floats, weights: Floats) -> "Mixture":
        """Return the mixture for other weights, found from this one."""
        return self._improved(colours, weights, _REFINING_ROUNDS)

    def log_density(self, colours: Floats) -> Floats:
        """Return ``[M]`` log densities, up to a constant, of ``colours`` ``[M, 3]``."""
        logs = self._component_logs(colours)
        largest = logs.max(1)
        return np.asarray(largest + np.log(np.exp(logs - largest[:, None]).sum(1)))

    def _improved(self, colours: Floats, weights: Floats, rounds: int) -> "Mixture":
        """Take steps of expectation and maximisation."""
        mixture, squares = self, colours * colours
        for _ in range(rounds):
            logs = mixture._component_logs(colours)
            shares = np.exp(logs - logs.max(1, keepdims=True))
            shares *= (weights / shares.sum(1))[:, None]
            totals = shares.sum(0) + np.float32(1e-6)
            means = shares.T @ colours / totals[:, None]
            variances = np.maximum(shares.T @ squares / totals[:, None] - means * means, 0) + np.float32(_SOFTEST)
            mixture = Mixture(means, variances, np.log(totals / totals.sum() + np.float32(1e-9)))
        return mixture

    def _component_logs(self, colours: Floats) -> Floats:
        inverse = 1 / self.variances
        distances = (colours * colours) @ inverse.T - 2 * colours @ (self.means * inverse).T
        distances += (self.means**2 * inverse).sum(1)
        return np.asarray(-0.5 * (distances + np.log(self.variances).sum(1)) + self.logs)


def _spread_means(colours: Floats, weights: Floats, count: int) -> Floats:
    """Return ``count`` means: the farthest colour from all earlier ones each time, then rounds of k-means."""
    means = (weights @ colours / weights.sum())[None]
    nearest = ((colours - means) ** 2).sum(1) * (weights > _FAINT * weights.max())
    for _ in range(count - 1):
        means = np.concatenate([means, colours[nearest.argmax()][None]])
        nearest = np.minimum(nearest, ((colours - means[-1]) ** 2).sum(1))
    for _ in range(_ROUNDS):
        owner = ((means**2).sum(1) - 2 * colours @ means.T).argmin(1)
        members = (owner[:, None] == np.arange(count)) * weights[:, None]
        sizes = members.sum(0)[:, None]
        means = np.where(sizes > 0, members.T @ colours / np.maximum(sizes, np.float32(1e-6)), means)
    return np.asarray(means, np.float32)
