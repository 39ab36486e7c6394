"""A training run's state after a whole epoch: one safetensors file, the run's description in its header.

One file, so that weights, optimiser and epoch can never be of different moments.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fmnist_edge_export.files import write_atomically
from fmnist_edge_export.recipes import Recipe
from fmnist_edge_export.training_state import TrainingState
from fmnist_edge_runtime.errors import ModelError, first_line


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave. Accuracies are fractions; ``watched`` is of the validation (or, notebook, test) images."""

    number: int
    loss: float
    train_accuracy: float
    watched_accuracy: float


@dataclass(frozen=True)
class Run:
    """What is being trained, and how.

    Two runs with equal fields, taught by the same files, give equal weights on the same machine. ``teachers``
    maps the name of each network it learns from, or begins as, to the sha256 of that network's weights.
    """

    architecture: str
    recipe: Recipe
    teachers: dict[str, str] = field(default_factory=dict)


def save_progress(path: Path, run: Run, curve: list[Epoch], state: TrainingState) -> None:
    """Replace the checkpoint at ``path`` atomically."""
    header = {
        "run": json.dumps(_settings(run), sort_keys=True),
        "curve": json.dumps([asdict(epoch) for epoch in curve]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save({name: value.contiguous() for name, value in state.tensors().items()}, header))


def restore_progress(path: Path, run: Run, state: TrainingState) -> list[Epoch]:
    """Put a checkpoint's content into ``state`` and return the curve so far.

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
        if not all(isinstance(part, dict) for part in (saved, saved["recipe"], saved["teachers"])):
            raise ValueError("no settings in its header")
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: a damaged checkpoint ({error}); remove it and start again") from error
    wanted = json.loads(json.dumps(_settings(run)))
    if saved != wanted:
        raise ModelError(f"{path}: of another run ({_difference(saved, wanted)}); use its settings or another --out")
    try:
        state.restore(tensors)
    except (KeyError, RuntimeError, ValueError) as error:
        words = f"of another network ({first_line(error)})"
        raise ModelError(f"{path}: {words}; use another --out, or start again") from error
    return curve


def _settings(run: Run) -> dict[str, Any]:
    """Return what the weights follow from: all of a run but what is told of how its recipe was chosen."""
    settings = asdict(run)
    del settings["recipe"]["chosen"]
    return settings


def _difference(saved: dict[str, Any], wanted: dict[str, Any]) -> str:
    there, here = _flat(saved), _flat(wanted)
    names = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    return ", ".join(f"{name} {there.get(name) or '-'} there, {here.get(name) or '-'} here" for name in names)


def _flat(run: dict[str, Any]) -> dict[str, str]:
    weights = {f"weights of {name}": str(digest)[:8] for name, digest in run["teachers"].items()}
    settings = {name: str(value) for name, value in run["recipe"].items()}
    return {"architecture": str(run.get("architecture")), **settings, **weights}
