"""Making probabilities mean what they say, on images that the model has not learned from."""

import bisect
import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]

KEPT = 0.99
BINS = 15
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.1, 10.0
_TEMPERATURES = np.geomspace(LEAST_TEMPERATURE, MOST_TEMPERATURE, 2001)


def log_softmax(logits: Floats) -> Floats:
    """Return log probabilities ``[N, K]`` for logits ``[N, K]``, however far those are apart."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def negative_log_likelihood(logits: Floats, labels: Labels) -> float:
    """Return the mean of -log p(label)."""
    return float(-log_softmax(logits.astype(np.float64))[np.arange(len(labels)), labels].mean())


def nll_of_probabilities(probabilities: Floats, labels: Labels) -> float:
    """Return the mean of -log p(label), in nats, for probabilities ``[N, K]``; 0 counts as 1e-30."""
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(of_truth, 1e-30)).mean())


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """Return the temperature with the least negative log-likelihood (Guo et al. 2017, arXiv 1706.04599, section 4).

    1 for a single label, which has a probability of 1 at any temperature.
    """
    if logits.shape[1] == 1:
        return 1.0

    def rises_after(place: int) -> bool:  # the loss is convex in 1 / temperature: it falls, and then it rises
        here, next_to_it = _TEMPERATURES[place : place + 2]
        return negative_log_likelihood(logits / next_to_it, labels) >= negative_log_likelihood(logits / here, labels)

    best = bisect.bisect_left(range(len(_TEMPERATURES) - 1), True, key=rises_after)
    return round(float(_TEMPERATURES[best]), 4)


def fit_threshold(probabilities: Floats) -> float:
    """Return the best probability that at least 99 % of these images reach: below it a picture counts as unknown.

    It is one image's own, to six digits, rounded down: a step higher, and fewer would reach it. 1 itself, which hangs
    on the last digit of float32, is asked of none.
    """
    reached = float(np.quantile(probabilities.max(axis=1), 1 - KEPT, method="lower"))
    return min(math.floor(reached * 1e6) / 1e6, 0.999999)


def confidence_bins(probabilities: Floats, labels: Labels) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Return, for ``BINS`` equal bins of confidence, the number of images, mean confidence and accuracy in each.

    Mean and accuracy are 0 where a bin holds none.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    which = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    counts = np.bincount(which, minlength=BINS)
    some = np.maximum(counts, 1)
    return counts, np.bincount(which, confidence, BINS) / some, np.bincount(which, right, BINS) / some


def calibration_error(probabilities: Floats, labels: Labels) -> float:
    """Return the expected calibration error over ``BINS`` equal bins of confidence (Guo et al. 2017, section 2)."""
    counts, confidence, accuracy = confidence_bins(probabilities, labels)
    return float((counts * np.abs(accuracy - confidence)).sum() / len(labels))
