"""How good a model file is: accuracy, calibration and confusions on labelled images. Needs no torch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fmnist_edge_export.calibration import calibration_error, nll_of_probabilities
from fmnist_edge_export.data import Dataset
from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.errors import ModelError

_CHUNK = 500


@dataclass(frozen=True)
class Evaluation:
    """What a file shows on ``images`` labelled images.

    ``accuracy`` and ``known`` (the share not refused as unknown) are fractions; ``nll`` is in nats; ``ece`` is over
    ``calibration.BINS`` equal bins; ``confusion[i][j]`` counts images of label ``i`` that were called ``j``.
    """

    images: int
    labels: tuple[str, ...]
    accuracy: float
    nll: float
    ece: float
    known: float
    confusion: tuple[tuple[int, ...], ...]


def evaluate(
    classifier: Classifier, data: Dataset, on_images: Callable[[int], None] = lambda count: None
) -> Evaluation:
    """Run a classifier over a labelled data set; ``on_images`` hears how many were done since the last call.

    Raises:
        ModelError: onnxruntime fails, or what it answers are no probabilities.
    """
    parts = []
    for start in range(0, len(data), _CHUNK):
        parts.append(classifier.probabilities(data.images[start : start + _CHUNK]))
        on_images(len(parts[-1]))
    probabilities = np.concatenate(parts)
    if not ((probabilities >= 0).all() and np.abs(probabilities.sum(axis=1) - 1).max() < 1e-3):  # NaN is neither
        raise ModelError(f"{classifier.contract.name}: answers with what are no probabilities; export it again")
    given = probabilities.argmax(axis=1)
    size = len(classifier.labels)
    confusion = np.zeros((size, size), int)
    np.add.at(confusion, (data.labels, given), 1)
    return Evaluation(
        images=len(data),
        labels=classifier.labels,
        accuracy=float((given == data.labels).mean()),
        nll=nll_of_probabilities(probabilities, data.labels),
        ece=calibration_error(probabilities, data.labels),
        known=float(np.mean([classifier.contract.is_known(float(best)) for best in probabilities.max(axis=1)])),
        confusion=tuple(map(tuple, confusion.tolist())),
    )
