"""Every model and form side by side in one run: latency, throughput, memory, size, and which form to use here."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_edge_export.data import load_sample
from fmnist_edge_export.peak_memory import BULK, peak_memory
from fmnist_edge_export.served import PYTORCH, SUFFIXES, NotServedError, Served, open_served
from fmnist_edge_runtime.bundled import bundled_model
from fmnist_edge_runtime.errors import MissingExtraError, ModelError
from fmnist_edge_runtime.session import Images

ROUNDS = 40
BULK_ROUNDS = 5
_CALLS = 40  # single pictures in a row before the next file has its turn
REFERENCE = ("cnn", "onnx")


@dataclass(frozen=True)
class Row:
    """One file: its median for one picture, that over the reference's in the same rounds, and what else it costs.

    ``model`` is its name, with the folder where models of one name from several folders are measured.
    ``exact`` tells whether its self-test holds on this machine; None if it carries none.
    """

    model: str
    form: str
    path: str
    bytes: int
    latency_us: float
    ratio: float
    images_per_second: float
    peak_memory: int | None
    exact: bool | None


@dataclass(frozen=True)
class Advice:
    """The form of a model to use on this machine, and why."""

    model: str
    form: str
    why: str


@dataclass(frozen=True)
class Benchmark:
    """All rows, slowest last; ``reference`` is what ratios are against; ``left_out`` could not be run, and why."""

    rows: tuple[Row, ...]
    reference: str
    advice: tuple[Advice, ...]
    left_out: tuple[str, ...]


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Return the model files that ``paths`` name: files, models' folders, or folders of those.

    Raises:
        ModelError: a path is not there, or holds no model file.
    """
    found = []
    for path in paths:
        below = [path] if path.is_file() else sorted(_models_in(path))
        if not below:
            raise ModelError(f"{path}: no model file there; give one, or a folder made by fmnist-edge export")
        found += below
    return list(dict.fromkeys(found))


def _models_in(folder: Path) -> Iterable[Path]:
    for path in [*folder.glob("*"), *folder.glob("*/*")]:
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts) or parts[0].endswith(".failed")  # by a gate
        weights_alone = path.suffix == ".safetensors" and not path.with_suffix(".json").is_file()
        if path.suffix in SUFFIXES and not hidden and not weights_alone:
            yield path


def default_paths() -> list[Path]:
    """Return ``artifacts`` where there is such a folder, else the bundled model."""
    folder = Path("artifacts")
    return [folder if folder.is_dir() else bundled_model()]


def benchmark(paths: Sequence[Path], *, threads: int, on_round: Callable[[], None] = lambda: None) -> Benchmark:
    """Measure files in turns, so that whatever slows the machine for a while slows all of them.

    Each file answers one picture at a time, then ``BULK`` at once; memory is measured in processes of their own.
    ``on_round`` hears of each of the ``steps(paths)`` steps.

    Raises:
        ModelError: a file is damaged or not of this kit, or none can be run here.
    """
    opened: list[tuple[Path, Served]] = []
    left_out = []
    for path in paths:
        try:
            opened.append((path, open_served(path, threads)))
        except MissingExtraError:
            left_out.append(f"{path}: torch is not installed ([export])")
            on_round()
        except NotServedError as error:
            left_out.append(str(error))
            on_round()
    if not opened:
        raise ModelError(f"{', '.join(left_out)}: nothing that can be run here")
    images = load_sample().images
    single = _in_turns([served for _, served in opened], ROUNDS, on_round, lambda run: _one_by_one(run, images))
    bulk = _in_turns([served for _, served in opened], BULK_ROUNDS, on_round, lambda run: _at_once(run, images))
    reference = next((n for n, (_, s) in enumerate(opened) if (s.model, s.form) == REFERENCE), 0)
    names = _names(opened)
    rows = []
    for number, (path, served) in enumerate(opened):
        rows.append(
            Row(
                model=names[number],
                form=served.form,
                path=str(path),
                bytes=path.stat().st_size,
                latency_us=float(np.median(single[number]) * 1e6),
                ratio=float(np.median(single[number] / single[reference])),
                images_per_second=float(BULK / np.median(bulk[number])),
                peak_memory=peak_memory(path, threads),
                exact=served.exact,
            )
        )
        on_round()
    against = rows[reference]
    return Benchmark(
        rows=tuple(sorted(rows, key=lambda row: row.latency_us)),
        reference=f"{against.model} {against.form}",
        advice=tuple(advise(rows)),
        left_out=tuple(left_out),
    )


def _names(opened: Sequence[tuple[Path, Served]]) -> list[str]:
    """Return what each model is called in the report."""
    folders = {served.model: {path.parent for path, s in opened if s.model == served.model} for _, served in opened}
    return [s.model if len(folders[s.model]) == 1 else f"{s.model} in {path.parent}" for path, s in opened]


def steps(paths: Sequence[Path]) -> int:
    """Return how often ``on_round`` is called for these files."""
    return ROUNDS + BULK_ROUNDS + len(paths)


def _in_turns(
    candidates: Sequence[Served],
    rounds: int,
    on_round: Callable[[], None],
    measure: Callable[[Served], float],
) -> np.ndarray:
    """Return seconds ``[candidates, rounds]``; the first round of each warms up and does not count."""
    for served in candidates:
        measure(served)
    seconds = np.empty((len(candidates), rounds))
    for turn in range(rounds):
        for number, served in enumerate(candidates):
            seconds[number, turn] = measure(served)
        on_round()
    return seconds


def _one_by_one(served: Served, images: Images) -> float:
    """Return the median time of one call."""
    times = []
    for index in range(_CALLS):
        picture = images[index : index + 1]
        start = time.perf_counter()
        served.scores(picture)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _at_once(served: Served, images: Images) -> float:
    start = time.perf_counter()
    served.scores(images[:BULK])
    return time.perf_counter() - start


def advise(rows: Sequence[Row]) -> list[Advice]:
    """Return, for each model that has exported forms, the fastest that answers here as it was proven to."""
    advice = []
    for model in dict.fromkeys(row.model for row in rows):
        forms = [row for row in rows if row.model == model and row.form != PYTORCH]
        exact = [row for row in forms if row.exact]
        if not forms:
            continue
        if not exact:
            advice.append(Advice(model, "none", "no form's self-test holds on this CPU"))
            continue
        best = min(exact, key=lambda row: row.ratio)
        reasons = [f"{row.form} is less exact on this CPU: its self-test fails" for row in forms if not row.exact]
        reasons += [f"{row.form} takes {row.ratio / best.ratio:.2f} x as long" for row in exact if row is not best]
        advice.append(Advice(model, best.form, "; ".join(reasons) or "the only form here"))
    return advice
