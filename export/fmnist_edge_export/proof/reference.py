"""The bare float module as the truth: never the wrapped one that was exported, fed with pictures scaled by NumPy."""

from typing import Any

import numpy as np
import torch
from torch import nn

from fmnist_edge_export.calibration import log_softmax
from fmnist_edge_export.data import in_batches
from fmnist_edge_export.formats.scores import SkipLogSoftmax
from fmnist_edge_export.source import Source, normalised
from fmnist_edge_runtime.errors import ModelError, first_line
from fmnist_edge_runtime.session import Images

_BATCH = 250
_CLOSE = 1e-4
_ROUNDED = 1e-2  # sums of probabilities from 1, of half precision too


def reference_logits(source: Source, images: Images) -> np.ndarray:
    """Return the module's logits, float32 ``[N, K]``, for uint8 ``[N, H, W]``.

    Raises:
        ModelError: the module does not return one finite score a label.
    """
    return np.concatenate([_logits(source, part) for part in in_batches(images, _BATCH)])


def refuse_unless_alone_as_together(source: Source, images: Images, together: np.ndarray) -> None:
    """Raise ModelError if the module says something else of a picture alone than in a batch: no form can say both.

    ``together`` are its logits ``[N, K]`` for uint8 ``[N, H, W]`` in batches.
    """
    alone = np.concatenate([_logits(source, image) for image in in_batches(images, 1)])
    if np.abs(alone - together).max() > _CLOSE * max(1.0, np.abs(together).max()):
        words = (
            "the module's scores of a picture depend on the others of its batch, on how many there are, or on rounding"
        )
        raise ModelError(f"{source.record.name}: {words}; let it treat each alone, and not divide by next to nothing")


def refuse_probabilities(source: Source, answers: np.ndarray) -> None:
    """Raise ModelError if a module's answers ``[N, K]`` to all kinds of pictures are probabilities, every one."""
    if answers.shape[1] > 1 and (answers >= 0).all() and np.abs(answers.sum(axis=1) - 1).max() < _ROUNDED:
        words = "the module returns probabilities; let it return the scores before softmax"
        raise ModelError(f"{source.record.name}: {words}")


def _logits(source: Source, images: Images) -> np.ndarray:
    name, labels = source.record.name, source.record.labels
    pixels = normalised(images, source.record.mean, source.record.std)
    try:
        answer = _run(source.module, pixels)
    except Exception as error:  # somebody's module may raise what it likes
        words = f"the module cannot take float {list(pixels.shape)}, as which it is given pictures"
        raise ModelError(f"{name}: {words} ({first_line(error)})") from error
    if not isinstance(answer, np.ndarray) or answer.shape != (len(images), len(labels)):
        given = list(answer.shape) if isinstance(answer, np.ndarray) else type(answer).__name__
        raise ModelError(f"{name}: the module returns {given}, not float [N, {len(labels)}], one score a label")
    if not np.isfinite(answer).all():
        raise ModelError(f"{name}: the module returns NaN or infinite scores")
    with SkipLogSoftmax():
        logits: np.ndarray = _run(source.module, pixels)
    if np.abs(logits - answer).max() <= _CLOSE:  # some layers round otherwise where they are watched
        return answer
    # A net that ends in log_softmax gives its logits without it; skipping it must change nothing else.
    if np.abs(log_softmax(logits) - answer).max() > _CLOSE:
        if not np.array_equal(_run(source.module, pixels), answer):
            raise ModelError(f"{name}: the module answers otherwise when it is asked again; leave out what is random")
        raise ModelError(
            f"{name}: the module uses log_softmax other than as its last step; return the scores before it"
        )
    return logits


def _run(module: nn.Module, pixels: torch.Tensor) -> Any:
    """Return what a module answers, real numbers as a float32 array in memory of its own: some use theirs again."""
    with torch.no_grad():  # in inference_mode a tensor that the module keeps could not be trained with afterwards
        answer = module(pixels.clone())  # which some modules fill anew
    if isinstance(answer, torch.Tensor) and not answer.is_complex():
        answer = answer.detach().float().numpy().copy()
    return answer
