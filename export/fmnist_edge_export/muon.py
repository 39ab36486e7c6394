"""Muon: each convolution's step is the nearest orthogonal matrix to its momentum."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_STEPS = 5
_QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """An optimiser for convolution weights that BatchNorm follows, so that only their direction counts.

    A weight ``[out, in, h, w]`` is taken as a matrix ``[out, in * h * w]``, kept at Frobenius norm ``sqrt(out)``, and
    moved by ``lr`` times that norm along its orthogonalised Nesterov momentum. ``lr`` is thus the angle of a step in
    radians. The orthogonalisation is five rounds of Newton and Schulz: Jordan et al. 2024, "Muon: An optimizer for
    hidden layers in neural networks"; the kept norm is that of their CIFAR-10 speed run. (torch.optim.Muon takes
    matrices only, and keeps no norm.)
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float) -> None:
        """Take the weights to train; ``momentum`` is in 0 to 1."""
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move every weight once along its gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                momentum = state["momentum_buffer"].mul_(group["momentum"]).add_(weight.grad)
                gradient = weight.grad.add(momentum, alpha=group["momentum"])
                direction = orthogonalised(gradient.flatten(1)).view_as(weight)
                norm = len(weight) ** 0.5
                weight.mul_(norm / weight.norm())
                length = direction.norm().clamp_min(1e-7)  # a weight without a gradient stays where it is
                weight.add_(direction, alpha=float(-group["lr"] * norm / length))


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return about ``U V'`` for a matrix ``U S V'``: its singular values brought near to 1."""
    a, b, c = _QUINTIC
    x: Tensor = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_STEPS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x
