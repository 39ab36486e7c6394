"""All that changes while a network is trained, and nothing that follows from the run's description."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fmnist_edge_export.muon import Muon
from fmnist_edge_export.recipes import Recipe

Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass
class TrainingState:
    """Weights, their average, the optimisers' momenta; each image's latest loss; soft labels by view; strangers."""

    model: nn.Module
    averaged: AveragedModel
    optimizers: list[torch.optim.Optimizer]
    losses: Tensor
    soft_labels: dict[int, Tensor] = field(default_factory=dict)
    strangers: Tensor = field(default_factory=lambda: torch.empty(0, 1, 28, 28, dtype=torch.uint8))

    def set_rate(self, factor: float) -> None:
        """Set every learning rate to its peak times ``factor``."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor

    def step(self, loss: Tensor) -> None:
        """Move the weights once along the gradient of ``loss``, and the average with them."""
        self.model.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.averaged.update_parameters(self.model)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything by name, for a checkpoint."""
        named = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        named |= {f"averaged.{name}": value for name, value in self.averaged.state_dict().items()}
        named |= {f"soft_labels.{view}": value for view, value in self.soft_labels.items()}
        for number, optimizer in enumerate(self.optimizers):
            for index, state in optimizer.state_dict()["state"].items():
                if state.get("momentum_buffer") is not None:
                    named[f"momentum{number}.{index}"] = state["momentum_buffer"]
        return named | {"losses": self.losses, "strangers": self.strangers}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take everything back from a checkpoint."""
        self.model.load_state_dict(_part(tensors, "model."))
        self.averaged.load_state_dict(_part(tensors, "averaged."))
        self.soft_labels = {int(view): value for view, value in _part(tensors, "soft_labels.").items()}
        self.losses, self.strangers = tensors["losses"], tensors["strangers"]
        for number, optimizer in enumerate(self.optimizers):
            state: dict[str, Any] = optimizer.state_dict()
            buffers = _part(tensors, f"momentum{number}.")
            state["state"] = {int(index): {"momentum_buffer": buffer} for index, buffer in buffers.items()}
            optimizer.load_state_dict(state)


def new_state(model: nn.Module, recipe: Recipe, images: int) -> TrainingState:
    """Return the state before the first step of a run over ``images`` images."""
    averaged = AveragedModel(model, multi_avg_fn=weight_average(recipe.average_decay), use_buffers=True)
    return TrainingState(model, averaged, _optimizers(model, recipe), torch.full((images,), torch.inf))


def _optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return SGD for all parameters, or Muon for the convolutions and SGD for the others."""
    by_muon = [p for p in model.parameters() if p.dim() == 4] if recipe.muon_rate else []
    by_sgd = [p for p in model.parameters() if all(p is not other for other in by_muon)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.SGD(
            by_sgd,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            weight_decay=recipe.weight_decay,
        )
    ]
    if by_muon:
        optimizers.append(Muon(by_muon, lr=recipe.muon_rate, momentum=recipe.momentum))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def weight_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Return an exponential average of weights that forgets fast at first, so that early epochs are not of noise."""

    def update(average: Tensors, current: Tensors, updates: Tensor | int) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(updates)) / (10 + int(updates))))(average, current, updates)

    return update


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
