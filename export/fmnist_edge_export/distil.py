"""Learning from larger networks: their answers for the very pictures that the small one sees."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fmnist_edge_export.recipes import Recipe
from fmnist_edge_runtime.selftest import softmax
from fmnist_edge_runtime.session import Scorer


def soft_labels(teachers: Sequence[Scorer], images: Tensor, recipe: Recipe) -> Tensor:
    """Return the teachers' mean probabilities, float16 ``[N, K]``, at its temperature, for uint8 ``[N, 1, H, W]``.

    With ``recipe.mirrored`` they are asked about the mirror images as well, which belong to the same labels.

    A teacher maps uint8 ``[N, H, W]`` to logits and probabilities ``[N, K]``, as ``Classifier.scores`` does: an
    exported int8 file answers several times as fast as its module in PyTorch.
    """
    pixels = images[:, 0].numpy()
    asked = [pixels, np.ascontiguousarray(pixels[:, :, ::-1])] if recipe.mirrored else [pixels]
    answers = [softmax(teacher(x)[0] / recipe.teacher_temperature) for teacher in teachers for x in asked]
    mean = np.mean(answers, axis=0)
    return torch.from_numpy(mean).half()


def distillation_loss(logits: Tensor, labels: Tensor, soft: Tensor, recipe: Recipe) -> Tensor:
    """Return the loss ``[B]`` of logits ``[B, K]`` against labels ``[B]`` and the teachers' probabilities ``[B, K]``.

    The divergence at the temperature counts its square, so that its gradients keep their size (Hinton, Vinyals and
    Dean 2015, arXiv 1503.02531, section 2).
    """
    temperature = recipe.teacher_temperature
    student = functional.log_softmax(logits / temperature, dim=1)
    divergence = functional.kl_div(student, soft.float(), reduction="none").sum(dim=1) * temperature**2
    hard = functional.cross_entropy(logits, labels, reduction="none")
    return recipe.teacher_share * divergence + (1 - recipe.teacher_share) * hard
