"""Opening any file of a model's folder as something that answers: what the benchmark runs."""

from dataclasses import dataclass
from pathlib import Path

from fmnist_edge_export.extras import needs_export_extra
from fmnist_edge_export.formats import torchscript_file
from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.errors import ModelError
from fmnist_edge_runtime.modelfile import bounded_bytes
from fmnist_edge_runtime.session import Scorer

PYTORCH = "pytorch"  # the module itself, run eagerly: no exported form
SUFFIXES = (".onnx", ".pt", ".safetensors")


class NotServedError(ModelError):
    """A file is whole, and cannot be asked about Fashion-MNIST's pictures here; the message says why."""


@dataclass(frozen=True)
class Served:
    """A model in one form; ``exact`` tells whether it answers here as where it was made, None if nothing says."""

    model: str
    form: str
    scores: Scorer
    exact: bool | None


def open_served(path: Path, threads: int) -> Served:
    """Open an ONNX file, a TorchScript file, or weights with their record.

    Raises:
        NotServedError: it takes pictures of another size, or it is weights of a network that only their owner has.
        ModelError: damaged, or not of this kit.
        MissingExtraError: torch is needed and not installed.
    """
    if path.suffix == ".onnx":
        classifier = Classifier(path, threads=threads)
        contract = classifier.contract
        _check_size(path, contract.height, contract.width)
        return Served(contract.name, contract.format, classifier.scores, classifier.self_test().ok)
    with needs_export_extra(f"running {path.name}"):
        import torch

        from fmnist_edge_export.formats import torchscript
    torch.set_num_threads(threads)
    if path.suffix == ".pt":
        content = bounded_bytes(path)
        contract = torchscript_file.read_contract(content, str(path))
        _check_size(path, contract.height, contract.width)
        run, replayed = torchscript.load_and_replay(content, contract, str(path))
        return Served(contract.name, contract.format, run, replayed.ok)
    return _eager(path)


def _check_size(path: Path, height: int, width: int) -> None:
    if (height, width) != (28, 28):
        raise NotServedError(f"{path}: takes pictures of {height} x {width}, not of 28 x 28")


def _eager(path: Path) -> Served:
    from fmnist_edge_export.formats.scores import Scores
    from fmnist_edge_export.formats.torchscript import Contracted, run_by
    from fmnist_edge_export.models import ARCHITECTURES
    from fmnist_edge_export.record import load_model, load_record

    architecture = load_record(path).architecture
    if architecture not in ARCHITECTURES:
        raise NotServedError(f"{path}: weights of a {architecture}, which the kit cannot build")
    module, record = load_model(path)
    contracted = Contracted(Scores(module, record.mean, record.std), record.temperature).eval()
    return Served(record.name, PYTORCH, run_by(contracted), None)
