"""A training run's state after a whole epoch: one safetensors file, the run's description in its header.

One file, so that weights, optimiser and epoch can never be of different moments.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fmnist_edge_export.files import write_atomically
from fmnist_edge_export.recipes import Recipe
from fmnist_edge_runtime.errors import ModelError


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave. Accuracies are fractions; ``watched`` is of the validation (or, notebook, test) images."""

    number: int
    loss: float
    train_accuracy: float
    watched_accuracy: float


@dataclass(frozen=True)
class Run:
    """What is being trained, and how: two runs with equal fields give equal weights on the same machine."""

    architecture: str
    recipe: Recipe
    seed: int


def save_progress(
    path: Path, run: Run, curve: list[Epoch], model: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Replace the checkpoint at ``path`` atomically."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"averaged.{name}": value for name, value in averaged.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        if state.get("momentum_buffer") is not None:
            tensors[f"momentum.{index}"] = state["momentum_buffer"]
    header = {"run": json.dumps(asdict(run), sort_keys=True), "curve": json.dumps([asdict(epoch) for epoch in curve])}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save({name: value.contiguous() for name, value in tensors.items()}, header))


def restore_progress(
    path: Path, run: Run, model: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer
) -> list[Epoch]:
    """Put a checkpoint's state into the three objects and return the curve so far.

    Raises:
        ModelError: there is no checkpoint, it is damaged, or it is of another run.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no checkpoint to resume from; start without --resume")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        saved, curve = json.loads(header["run"]), [Epoch(**epoch) for epoch in json.loads(header["curve"])]
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: a damaged checkpoint ({error}); remove it and start again") from error
    wanted = json.loads(json.dumps(asdict(run)))
    if saved != wanted:
        raise ModelError(f"{path}: of another run ({_difference(saved, wanted)}); use its settings or another --out")
    model.load_state_dict(_part(tensors, "model."))
    averaged.load_state_dict(_part(tensors, "averaged."))
    state: dict[str, Any] = optimizer.state_dict()
    state["state"] = {int(index): {"momentum_buffer": buffer} for index, buffer in _part(tensors, "momentum.").items()}
    optimizer.load_state_dict(state)
    return curve


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _difference(saved: dict[str, Any], wanted: dict[str, Any]) -> str:
    flat_saved = saved | saved.get("recipe", {})
    flat_wanted = wanted | wanted["recipe"]
    names = sorted(name for name in flat_wanted if name != "recipe" and flat_saved.get(name) != flat_wanted[name])
    return ", ".join(f"{name} {flat_saved.get(name)} there, {flat_wanted[name]} here" for name in names) or "unknown"
