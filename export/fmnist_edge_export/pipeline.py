"""From a float model to a proven folder: build everything beside the target, prove it, then swap."""

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from safetensors.torch import load, save

from fmnist_edge_export import manifest
from fmnist_edge_export.card import PICTURES, Answers, is_card, write_card
from fmnist_edge_export.data import in_batches
from fmnist_edge_export.files import sha256_of, sha256_of_bytes, write_atomically
from fmnist_edge_export.folder import recover, refuse_unless_replaceable, staging, swap, undisturbed
from fmnist_edge_export.formats.registry import FORMATS, Format
from fmnist_edge_export.proof.bounds import REFERENCE_TOLERANCE
from fmnist_edge_export.proof.gate import ask_reference, prove
from fmnist_edge_export.proof.measure import Truth
from fmnist_edge_export.proof.probes import Probes
from fmnist_edge_export.proof.report import Check, Report
from fmnist_edge_export.record import Logits, Record, weights_of
from fmnist_edge_export.source import Source, as_lists, self_test
from fmnist_edge_runtime.errors import ModelError, ParityError
from fmnist_edge_runtime.modelfile import MOST_BYTES
from fmnist_edge_runtime.session import Images

log = logging.getLogger(__name__)

CHUNK = 256


def formats_named(names: Sequence[str]) -> list[Format]:
    """Return forms by name, in the kit's order.

    Raises:
        ModelError: there is no form of that name.
    """
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise ModelError(f"{', '.join(unknown) or 'nothing'}: no such format; there are {', '.join(FORMATS)}")
    return [form for name, form in FORMATS.items() if name in names]


def export(
    source: Source,
    target: Path,
    formats: Sequence[Format],
    probes: Probes,
    *,
    notes: tuple[str, ...] = (),
    keep_failed: bool = False,
    on_step: Callable[[str], None] = lambda step: None,
) -> Report:
    """Export a model to the folder ``target``, replacing it only if every file in it is proven.

    Raises:
        ParityError: a proof failed; ``target`` is as it was. The error's ``report`` says which.
    """
    target = Path(os.path.realpath(target))  # of a link, what it points to is replaced
    refuse_unless_replaceable(target)
    recover(target)
    with undisturbed(target):
        _refuse_foreign_files(source.record.name, target)
    rejected = target.with_name(f"{target.name}.failed") if keep_failed else None
    if rejected and os.path.lexists(rejected) and not _was_rejected(rejected, source.record.name):
        raise ModelError(f"{rejected}: holds what no export has rejected; move it elsewhere")
    on_step("asking the float model")
    truth = ask_reference(source, probes)
    _refuse_other_weights(source)
    with staging(target) as new:
        checks: list[Check] = []
        entries = {}
        self_tests = dict(source.record.self_test)
        for form in formats:
            on_step(f"building {form.name}")
            content, logits = sealed(form, source, probes, truth)
            self_tests |= logits
            file = form.file_name(source.record.name)
            write_atomically(new / file, content)
            on_step(f"proving {form.name}")
            proof = prove(form, (new / file).read_bytes(), source, probes, truth)
            checks += proof.checks
            entries[form.name] = manifest.entry(file, proof.checks, asdict(proof.measured) if proof.measured else {})
        others = {form.name: target / form.file_name(source.record.name) for form in FORMATS.values()}
        with undisturbed(target):
            kept = {name: file.read_bytes() for name, file in others.items() if name not in entries and file.is_file()}
        record = replace(source.record, self_test=self_tests)
        write_atomically(new / f"{record.name}.safetensors", source.weights)
        write_atomically(new / f"{record.name}.json", record.to_json())
        report = Report(tuple(checks))
        if not report.ok:
            raise _failed(report, new, target, rejected)
        entries |= _carry_over(kept, source, probes, truth, new)
        write_card(new, record, entries, _answers_for_card(source, new, entries, probes))
        manifest.write(new, manifest.Manifest(record.name, formats=entries, notes=notes))
        on_step("replacing the folder")

        def complete() -> None:
            _refuse_newer_forms(source.record.name, target, new, kept)
            _keep_other_files(source.record.name, target, new)

        swap(new, target, complete)
    return report


def _refuse_other_weights(source: Source) -> None:
    """Raise ModelError unless the weights to be written are the module's own."""
    # Written anew, since another version of safetensors may have made the file; as bytes, since NaN equals nothing.
    same = save(load(source.weights)) == weights_of(source.module)
    if not same or sha256_of_bytes(source.weights) != source.record.weights_sha256:
        words = "the weights to be written are not those of the module; does its forward change its state?"
        raise ModelError(f"{source.record.name}: {words}")


def sealed(form: Format, source: Source, probes: Probes, truth: Truth) -> tuple[bytes, dict[str, Logits]]:
    """Build a file and seal it with the logits that it gives itself; return it and those logits, for the record.

    Logits differ in their last digits from one CPU to the next. Where this machine meets those of the record, they
    are kept, so that the same weights give the same bytes everywhere.

    Raises:
        ModelError: the runtime would not open a file so large.
    """
    graph = form.build(source)
    if len(graph) > MOST_BYTES:
        sizes = f"{len(graph) // 2**20} MiB as {form.name}, and the runtime opens {MOST_BYTES // 2**20} at most"
        raise ModelError(f"{source.record.name}: {sizes}; export a smaller network")
    kept = source.record.self_test
    reference = _kept_or_new(kept.get("reference"), truth.self_test, REFERENCE_TOLERANCE)
    provisional = _seal(form, graph, source, probes, reference, reference)
    answered = _answers(form, provisional, probes.self_test)
    if answered is None or answered.shape != truth.self_test.shape:
        answered = truth.self_test
    own = _kept_or_new(kept.get(form.name), answered, form.bounds.self_test(reference, answered)[1])
    logits = {"reference": as_lists(reference), form.name: as_lists(own)}
    return _seal(form, graph, source, probes, reference, own), logits


def _answers_for_card(
    source: Source, new: Path, entries: dict[str, dict[str, object]], probes: Probes
) -> Answers | None:
    """Ask the smallest proven file about the labelled images; None without labels."""
    if probes.labels is None:
        return None
    files = {form: new / form.file_name(source.record.name) for form in FORMATS.values() if form.name in entries}
    form, smallest = min(files.items(), key=lambda item: item[1].stat().st_size)
    _, run = form.open(smallest.read_bytes())
    parts = [run(batch)[1] for batch in in_batches(probes.decisions, CHUNK)]
    return Answers(smallest.name, probes.decided_on, probes.decisions, probes.labels, np.concatenate(parts))


def _answers(form: Format, content: bytes, images: Images) -> np.ndarray | None:
    """Return a file's logits; None if it gives none that can be recorded: then its proof fails, and says why."""
    try:
        logits, _ = form.open(content)[1](images)
    except Exception:  # an engine may raise what it likes
        log.debug("%s did not run its self-test", form.name, exc_info=True)
        return None
    return logits if np.isfinite(logits).all() else None


def _seal(form: Format, graph: bytes, source: Source, probes: Probes, reference: np.ndarray, own: np.ndarray) -> bytes:
    tested = self_test(probes.self_test, reference, own, form.bounds.self_test(reference, own))
    return form.seal(graph, source.metadata(form.name, tested))


def _kept_or_new(kept: Logits | None, measured: np.ndarray, tolerance: float) -> np.ndarray:
    if kept is not None:
        before = np.array(kept, np.float32)
        if before.shape == measured.shape and np.abs(before - measured).max() <= tolerance:
            return before
    return measured


def _carry_over(
    contents: dict[str, bytes], source: Source, probes: Probes, truth: Truth, new: Path
) -> dict[str, dict[str, object]]:
    """Keep the forms that were not asked for, proven anew; say so of those that do not pass any more."""
    carried = {}
    for name, content in contents.items():
        form = FORMATS[name]
        file = form.file_name(source.record.name)
        proof = prove(form, content, source, probes, truth)
        failed = [check for check in proof.checks if not check.ok]
        if failed or proof.measured is None:
            seen = "; ".join(f"{check.name}: {check.seen}" for check in failed)
            log.warning("%s is dropped: it does not pass any more (%s); export it again as %s", file, seen, name)
            continue
        write_atomically(new / file, content)
        carried[name] = manifest.entry(file, proof.checks, asdict(proof.measured))
    return carried


def _model_files(name: str) -> set[str]:
    """Return the names of weights, record and forms of a model called ``name``."""
    return {f"{name}.safetensors", f"{name}.json", *(form.file_name(name) for form in FORMATS.values())}


def _our_files(name: str) -> set[str]:
    """Return the names of all files that an export of a model called ``name`` writes."""
    return {manifest.NAME, "README.md", *PICTURES, *_model_files(name)}


def _refuse_foreign_files(name: str, target: Path) -> None:
    """Raise if an export would replace files that none has written: a README, say, of the folder one stands in.

    What exports have written is in the manifest. Where only a record is, as in a clone or after training, all is taken
    for theirs but a README that is no card.
    """
    taken = _our_files(name).intersection(path.name for path in target.iterdir()) if target.is_dir() else set()
    try:
        written = {manifest.NAME, *manifest.read(target).files}
    except ModelError:
        written = taken if _is_record(target / f"{name}.json") else set()
        if "README.md" in written and not is_card(target / "README.md", name):
            written = written - {"README.md"}
    if foreign := sorted(taken - written):
        raise ModelError(f"{target}: holds a {foreign[0]} that no export has written; name another folder")


def _was_rejected(folder: Path, name: str) -> bool:
    """Tell whether an export has left a folder as rejected: weights, record and forms are there, and nothing else."""
    if folder.is_symlink() or not _is_record(folder / f"{name}.json"):  # a link would stay, and be in the way
        return False
    rejected = _model_files(name)
    found = {path.name for path in folder.iterdir()}
    return found <= rejected and len(found) > len(rejected) - len(FORMATS)


def _is_record(path: Path) -> bool:
    try:
        return path.is_file() and bool(Record.from_json(path.read_bytes(), str(path)))
    except (ModelError, OSError):
        return False


def _refuse_newer_forms(name: str, target: Path, new: Path, kept: dict[str, bytes]) -> None:
    """Raise if another export has made a form meanwhile that this one has not, or carries over as it was before."""
    for form in FORMATS.values():
        file = target / form.file_name(name)
        proven_here = form.name not in kept and (new / file.name).is_file()
        if not proven_here and file.is_file() and file.read_bytes() != kept.get(form.name):
            raise ModelError(f"{file}: made by another export meanwhile; {target} stays as that left it, export again")


def _keep_other_files(name: str, target: Path, new: Path) -> None:
    """Copy what somebody else put into the folder: replacing a set must not lose a stranger's file.

    What an export wrote before the folder was renamed is nobody's any more.
    """
    try:
        written = manifest.read(target).files
    except ModelError:
        written = {}
    if target.is_dir():
        for path in target.iterdir():
            said = written.get(path.name, {}).get("sha256")
            of_another_name = said and path.is_file() and sha256_of(path) == said
            if path.name not in _our_files(name) and not of_another_name:
                shutil.copy2(path, new / path.name, follow_symlinks=False)


def _failed(report: Report, new: Path, target: Path, rejected: Path | None) -> ParityError:
    where = f"{target} is unchanged"
    if rejected:
        shutil.rmtree(rejected, ignore_errors=True)
        new.rename(rejected)
        where += f", the rejected files are in {rejected}"
    rows = ", ".join(f"{check.subject} {check.name}" for check in report.failures)
    subjects = {check.subject for check in report.failures}
    if len(subjects) == 1 and len({check.subject for check in report.checks}) > 1:
        where += f"; the gate would be open without {subjects.pop()}"
    return ParityError(f"the gate is closed by {rows}; {where}", report)
