"""Checking finished files: their digests, their self-tests, and a folder against its manifest. ONNX needs no torch."""

import os
from pathlib import Path

from fmnist_edge_export import manifest
from fmnist_edge_export.extras import needs_export_extra
from fmnist_edge_export.files import sha256_of
from fmnist_edge_export.folder import put_right, undisturbed
from fmnist_edge_export.formats import torchscript_file
from fmnist_edge_export.proof.bounds import FLOAT, INT8, judge_tolerances
from fmnist_edge_export.proof.report import Check, Report, self_test_check
from fmnist_edge_runtime import modelfile
from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.contract import Contract
from fmnist_edge_runtime.errors import FmnistEdgeError, MissingExtraError, ModelError
from fmnist_edge_runtime.modelfile import bounded_bytes
from fmnist_edge_runtime.selftest import Replay

_TORCHSCRIPT = ".pt"
_MODELS = (".onnx", _TORCHSCRIPT)


def verify(path: str | Path) -> Report:
    """Check a model file (digest and self-test), or a folder's files (against its manifest, and each model file).

    An export that was killed in the middle of replacing the folder is put right first.

    Raises:
        ModelError: there is nothing at ``path``, or nothing that can be looked at.
        MissingExtraError: a TorchScript file alone was given, and torch is not installed.
    """
    if isinstance(path, str) and not path:  # pathlib would take it for the folder that one stands in
        raise ModelError("an empty path: no such file or folder; name one")
    path = Path(path)
    try:
        return Report(tuple(_checks(path, Path(os.path.realpath(path)))))
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise ModelError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _checks(path: Path, resolved: Path) -> list[Check]:
    put_right(resolved)
    if path.is_dir():
        with undisturbed(resolved):
            return _folder_checks(path)
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder; give a model file, or a folder made by fmnist-edge export")
    return _file_checks(path, path.name)


def _folder_checks(folder: Path) -> list[Check]:
    try:
        known = manifest.read(folder)
    except ModelError as error:
        return [Check(manifest.NAME, "manifest", False, str(error))]
    checks = [_against_manifest(folder / name, entry) for name, entry in sorted(known.files.items())]
    if not checks:
        return [Check(manifest.NAME, "manifest", False, "lists no files; export the model again")]
    unlisted = sorted(p.name for p in folder.iterdir() if p.suffix in _MODELS and p.name not in known.files)
    unproven = "not in the manifest: no export has proven it; move it elsewhere"
    checks += [Check(name, "manifest", False, unproven) for name in unlisted]
    for name in sorted(known.files):
        if name.endswith(_MODELS) and (folder / name).is_file():
            try:
                checks += _file_checks(folder / name, name)
            except MissingExtraError:
                checks.append(Check(name, "self-test", True, "not replayed: torch is not installed ([export])"))
    return checks


def _against_manifest(path: Path, entry: dict[str, object]) -> Check:
    if not path.is_file():
        return Check(path.name, "manifest", False, "missing; export the model again")
    same = sha256_of(path) == entry.get("sha256")
    seen = f"sha256 as in the manifest, {path.stat().st_size:,} bytes" if same else "its sha256 is not the manifest's"
    return Check(path.name, "manifest", same, seen)


def _file_checks(path: Path, subject: str) -> list[Check]:
    scripted = path.suffix == _TORCHSCRIPT
    try:
        contract = _torchscript_contract(path) if scripted else modelfile.read(path).contract
    except FmnistEdgeError as error:
        return [Check(subject, "digest", False, str(error))]
    whole = Check(subject, "digest", True, "graph and metadata are whole")
    if generous := judge_tolerances(contract.self_test, INT8 if contract.format == "onnx-int8" else FLOAT):
        return [whole, Check(subject, "self-test", False, generous)]
    try:
        replayed = _replay_torchscript(path, contract) if scripted else _replay_onnx(path)
    except MissingExtraError:
        raise
    except FmnistEdgeError as error:  # what is whole may still be what cannot be run
        return [whole, Check(subject, "self-test", False, str(error))]
    return [whole, self_test_check(subject, replayed)]


def _replay_onnx(path: Path) -> Replay:
    with Classifier(path) as classifier:
        return classifier.self_test()


def _torchscript_contract(path: Path) -> Contract:
    return torchscript_file.read_contract(bounded_bytes(path), str(path))


def _replay_torchscript(path: Path, contract: Contract) -> Replay:
    with needs_export_extra(f"replaying {path.name}"):
        from fmnist_edge_export.formats import torchscript
    return torchscript.load_and_replay(bounded_bytes(path), contract, str(path))[1]
