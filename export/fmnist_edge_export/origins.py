"""The models that a run is made from: the teachers it learns from, and the weights it begins with."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fmnist_edge_export.data import LABELS
from fmnist_edge_export.recipes import Recipe
from fmnist_edge_export.record import load_model
from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.errors import ModelError
from fmnist_edge_runtime.session import Scorer


@dataclass(frozen=True)
class Origins:
    """``beginning`` are weights by name, None for random ones; ``digests`` the sha256 of each model's weights."""

    teachers: list[Scorer]
    beginning: dict[str, Tensor] | None
    digests: dict[str, str]


def find_origins(model: str, recipe: Recipe, folder: Path) -> Origins:
    """Open what a recipe for ``model`` names, each in its own folder in ``folder``.

    Raises:
        ModelError: one is missing or damaged, or a teacher has other labels than Fashion-MNIST's.
    """
    files = {name: folder / name / f"{name}.int8.onnx" for name in recipe.teachers}
    weights = folder / recipe.begins_as / f"{recipe.begins_as}.safetensors"
    for file in [*files.values(), *([weights] if recipe.begins_as else [])]:
        if not file.is_file():
            words = f"--teachers names the folder of the models that {model} is made from"
            raise ModelError(f"{file}: no such file; {words}")
    classifiers = {name: Classifier(files[name]) for name in recipe.teachers}
    for name, classifier in classifiers.items():
        contract = classifier.contract
        if (contract.labels, contract.height, contract.width) != (LABELS, 28, 28):
            raise ModelError(f"{files[name]}: its labels or picture size are not Fashion-MNIST's; it cannot teach them")
    teachers: list[Scorer] = [classifier.scores for classifier in classifiers.values()]
    digests = {name: classifier.contract.weights_sha256 for name, classifier in classifiers.items()}
    if not recipe.begins_as:
        return Origins(teachers, None, digests)
    module, record = load_model(weights)
    if digests.get(recipe.begins_as, record.weights_sha256) != record.weights_sha256:
        raise ModelError(f"{weights}: not what {files[recipe.begins_as].name} beside it was exported from")
    return Origins(teachers, module.state_dict(), digests | {recipe.begins_as: record.weights_sha256})
