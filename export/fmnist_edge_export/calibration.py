"""Making probabilities mean what they say, on images that the model has not learned from."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]

KEPT = 0.99
BINS = 15
_TEMPERATURES = np.geomspace(0.1, 10, 2001)


def softmax(logits: Floats) -> Floats:
    """Return probabilities ``[N, K]`` for logits ``[N, K]``, in the precision of the logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def negative_log_likelihood(logits: Floats, labels: Labels) -> float:
    """Return the mean of -log p(label)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sums - shifted[np.arange(len(labels)), labels]).mean())


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """Return the temperature with the least negative log-likelihood (Guo et al. 2017, arXiv 1706.04599, section 4)."""
    losses = [negative_log_likelihood(logits / temperature, labels) for temperature in _TEMPERATURES]
    return round(float(_TEMPERATURES[int(np.argmin(losses))]), 4)


def fit_threshold(probabilities: Floats) -> float:
    """Return the best probability that 99 % of these images reach: below it a picture counts as unknown."""
    return round(float(np.quantile(probabilities.max(axis=1), 1 - KEPT)), 4)


def calibration_error(probabilities: Floats, labels: Labels) -> float:
    """Return the expected calibration error over ``BINS`` equal bins of confidence (Guo et al. 2017, section 2)."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [
        abs(float(right[which == index].mean()) - float(confidence[which == index].mean()))
        * float((which == index).mean())
        for index in range(BINS)
        if (which == index).any()
    ]
    return float(sum(gaps))
