"""A model's weights (safetensors) and its record (JSON): what it is and how it came to be."""

import json
import math
import re
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from fmnist_edge_export.files import sha256_of, write_atomically
from fmnist_edge_export.models import build
from fmnist_edge_runtime.errors import ModelError, first_line

SCHEMA_VERSION = 1
_LONGEST_NAME = 200  # bytes, of the 255 that a file's may have
_TOOLS = ("fmnist-edge", "torch", "onnx", "onnxscript", "onnxruntime", "numpy")

Logits = list[list[float]]


@dataclass(frozen=True)
class Record:
    """Everything about a model but its weights.

    ``ranges`` are the activations' smallest and largest values on training images, by ONNX value name; ``self_test``
    holds the logits of the self-test images, by form and for the ``reference``, as they were first measured;
    ``teachers`` maps the networks it learned from, or began as, to the sha256 of their weights.
    """

    name: str
    architecture: str
    labels: tuple[str, ...]
    height: int
    width: int
    weights_sha256: str
    mean: float = 0.0
    std: float = 1.0
    temperature: float = 1.0
    unknown_threshold: float = 0.0
    recipe: dict[str, Any] | None = None
    seed: int | None = None
    teachers: dict[str, str] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dataset: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    test_accuracy: float | None = None
    trained_with: dict[str, str] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] | None = None
    self_test: dict[str, Logits] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the record as it stands in a file."""
        content = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("ascii")

    @classmethod
    def from_json(cls, content: bytes, source: str) -> "Record":
        """Read a record; ModelError if it is not one."""
        try:
            values = json.loads(content)
            if values.pop("schema_version") != SCHEMA_VERSION:
                raise ValueError("another schema_version")
            record = cls(**values)
            check_name(record.name)
            check_types(record)
            ranges = record.ranges and {name: (low, high) for name, (low, high) in record.ranges.items()}
            return replace(record, labels=tuple(record.labels), ranges=ranges)
        except (ModelError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise ModelError(f"{source}: not a model's record ({error}); train the model again") from error


def check_types(record: Record) -> None:
    """Raise TypeError or ValueError where a field is not what :class:`Record` says, as far as an export reads it."""
    kinds: dict[type | tuple[type, ...], tuple[str, ...]] = {
        str: ("architecture", "weights_sha256", "licence"),
        int: ("height", "width"),
        (int, float): ("mean", "std", "temperature", "unknown_threshold"),
        (list, tuple): ("labels",),
        list: ("curve", "notes"),
        dict: ("teachers", "dataset", "trained_with", "self_test"),
        (dict, type(None)): ("recipe", "ranges"),
        (int, float, type(None)): ("seed", "test_accuracy"),
    }
    for kind, names in kinds.items():
        for name in names:
            value = getattr(record, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise TypeError(f"{name} is {value!r:.60}")
    if min(record.std, record.temperature, record.height, record.width) <= 0:
        raise ValueError("std, temperature, height and width are above 0")
    if not np.isfinite([record.mean, record.std, record.temperature, record.unknown_threshold]).all():
        raise ValueError("mean, std, temperature and threshold are finite")
    texts = [*record.labels, *record.notes, *record.teachers.values(), *record.dataset.values()]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("labels, notes and digests are texts")
    measured = ("number", "loss", "train_accuracy", "watched_accuracy")
    curve = [epoch[name] for epoch in record.curve for name in measured]
    ranges = [bound for bounds in (record.ranges or {}).values() for bound in bounds]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in [*curve, *ranges]):
        raise TypeError("curve and ranges are made of finite numbers")
    if record.test_accuracy is not None and not 0 <= record.test_accuracy <= 1:  # NaN neither
        raise ValueError(f"test_accuracy is {record.test_accuracy}, not 0 to 1")
    if record.curve and not {"epochs", "validation"} <= (record.recipe or {}).keys():
        raise ValueError("a curve without the epochs and the validation images of a recipe")
    for form, rows in record.self_test.items():
        table = np.array(rows, np.float32)  # of ragged rows, numpy makes a ValueError
        if table.ndim != 2 or not np.isfinite(table).all():
            raise ValueError(f"the self-test of {form} is no table of finite numbers")


def check_name(name: object) -> None:
    """Refuse with a ModelError what no model may be called: its folder and its files are named by it."""
    taken = (".", "..", "manifest")
    if (
        not isinstance(name, str)
        or name.lower() in taken  # which some file systems do not tell apart
        or not re.fullmatch(r'[^\x00-\x1f/\\<>:"|?*\ud800-\udfff]+', name)  # lone surrogates are no text
    ):
        raise ModelError(f"{name!r} cannot be the name of a model's files; choose another")
    if len(name.encode()) > _LONGEST_NAME:
        words = f"cannot be the name of a model's files: {_LONGEST_NAME} bytes are the most"
        raise ModelError(f"{name[:40]!r}... {words}; choose a shorter one")


def weights_of(module: nn.Module) -> bytes:
    """Return a module's weights as safetensors.

    Raises:
        ModelError: its state holds what is no tensor, as that of a quantised module does, or one without plain values.
    """
    state = module.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            words = f"keeps a {type(value).__name__} in its state ({name}), where weights are tensors"
            raise ModelError(f"{type(module).__name__}: {words}; export the float network that it was made of")
    try:
        return save({name: value.detach().clone().contiguous() for name, value in state.items()})
    except Exception as error:  # of lazy, sparse, complex or meta tensors, each raises something else
        raise ModelError(f"{type(module).__name__}: its weights cannot be saved ({first_line(error)})") from error


def save_model(folder: Path, module: nn.Module, record: Record) -> None:
    """Write ``NAME.safetensors`` and ``NAME.json``; the record's digest tells whether the two belong together."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{record.name}.safetensors", weights_of(module))
    write_atomically(folder / f"{record.name}.json", record.to_json())


def load_record(weights: Path) -> Record:
    """Load the record ``NAME.json`` beside ``NAME.safetensors``.

    Raises:
        ModelError: one is missing, damaged, or does not belong to the other.
    """
    needed = "a model is NAME.safetensors with NAME.json beside it"
    if not weights.is_file():
        raise ModelError(f"{weights}: {'not a file' if weights.exists() else 'no such file'}; {needed}")
    if weights.suffix != ".safetensors":
        raise ModelError(f"{weights}: not a file of weights; {needed}")
    record_path = weights.with_suffix(".json")
    if not record_path.is_file():
        raise ModelError(f"{weights}: there is no {record_path.name} beside it; {needed}")
    record = Record.from_json(record_path.read_bytes(), str(record_path))
    if record.name != weights.stem:  # an export would replace the folder of that other model
        raise ModelError(f"{record_path}: the record of {record.name}, not of {weights.stem}; name the files after it")
    if sha256_of(weights) != record.weights_sha256:
        raise ModelError(f"{weights}: damaged, or not the weights that {record_path.name} describes; train it again")
    return record


def load_model(weights: Path) -> tuple[nn.Module, Record]:
    """Load ``NAME.safetensors`` with the record ``NAME.json`` beside it; the module is in eval mode.

    Raises:
        ModelError: one is missing, damaged, or does not belong to the other, or the kit cannot build the network.
    """
    record = load_record(weights)
    module = build(record.architecture)
    try:
        module.load_state_dict(load(weights.read_bytes()))
    except (SafetensorError, RuntimeError) as error:
        words = f"not the weights of a {record.architecture} ({first_line(error)})"
        raise ModelError(f"{weights}: {words}; train it again") from error
    return module.eval(), record


def tool_versions() -> dict[str, str]:
    """Return the versions of the tools that shape a model, without the suffix that names a build."""
    return {name: metadata.version(name).split("+")[0] for name in _TOOLS}
