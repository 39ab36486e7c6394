"""What is measured of one exported file: numbers, without a verdict."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fmnist_edge_export.calibration import calibration_error, nll_of_probabilities
from fmnist_edge_export.data import in_batches
from fmnist_edge_export.proof.probes import Probes
from fmnist_edge_export.record import Record
from fmnist_edge_runtime.selftest import softmax
from fmnist_edge_runtime.session import Images, Scorer

BATCHES = (1, 2, 7, 256)


@dataclass(frozen=True)
class Flip:
    """One image that the file labels otherwise; ``gap`` is between the reference's two best probabilities."""

    image: int
    reference: str
    file: str
    gap: float


@dataclass(frozen=True)
class Accuracy:
    """Fractions of the labelled images that the reference and the file get right, and the file's calibration."""

    reference: float
    file: float
    nll: float
    ece: float


@dataclass(frozen=True)
class Measurement:
    """Differences between a file and its reference.

    ``dlogit_*`` are absolute differences of logits: the largest, over every probe and batch size and the ``images``
    decided on, is the smallest tolerance that would pass; mean and p99 are over those images alone. ``batch_spread`` is
    the largest between answers to one image in batches of each of the sizes ``batches``. ``probe_flips`` counts other
    labels among the probes, ``flips`` lists those among the images decided on.
    ``probability_error`` and ``probability_sum_error`` are the worst of both: what a file's probabilities differ by
    from its own logits' softmax, and their sums from 1. ``probability_shift_p99`` is what those of 99 in 100 of the
    images decided on differ by, at most, from the reference's. ``known`` counts those of them that the reference
    takes for known, and that the file does.
    """

    dlogit_max: float
    dlogit_mean: float
    dlogit_p99: float
    batches: tuple[int, ...]
    batch_spread: float
    probe_flips: int
    probability_error: float
    probability_sum_error: float
    probability_shift_p99: float
    known: tuple[int, int]
    decided_on: str
    images: int
    flips: tuple[Flip, ...]
    accuracy: Accuracy | None

    @property
    def largest_gap(self) -> float:
        """The reference's surest label that the file changes, as a gap of probabilities; 0 without flips."""
        return max((flip.gap for flip in self.flips), default=0.0)


@dataclass(frozen=True)
class Truth:
    """The reference's logits ``[N, K]`` for each set of probes, computed once for all forms."""

    numbers: np.ndarray
    decisions: np.ndarray
    self_test: np.ndarray


def measure(run: Scorer, probes: Probes, truth: Truth, record: Record) -> Measurement:
    """Compare what ``run`` answers with the reference's logits."""
    temperature = record.temperature
    sizes = _batch_sizes(probes.numbers)
    answers = [
        _answers(run, (probes.numbers[start : start + size] for start in range(0, len(probes.numbers), size)))
        for size in sizes
    ]
    differences = np.stack([np.abs(logits - truth.numbers) for logits, _ in answers])
    logits = np.stack([logits for logits, _ in answers])
    decided = _answers(run, in_batches(probes.decisions, max(BATCHES)))
    differences_decided = np.abs(decided[0] - truth.decisions)
    wanted = softmax(truth.decisions.astype(np.float64) / temperature)
    shifts = np.abs(decided[1] - wanted).max(axis=1)
    known, known_to_file = (int((p.max(axis=1) >= record.unknown_threshold).sum()) for p in (wanted, decided[1]))
    every = [*answers, decided]
    return Measurement(
        dlogit_max=_worst(differences.max(), differences_decided.max()),
        dlogit_mean=float(differences_decided.mean()),
        dlogit_p99=float(np.quantile(differences_decided.max(axis=1), 0.99)),
        batches=sizes,
        batch_spread=float((logits.max(axis=0) - logits.min(axis=0)).max()),
        probe_flips=int((logits.argmax(axis=2) != truth.numbers.argmax(axis=1)).any(axis=0).sum()),
        probability_error=_worst(*(np.abs(p - softmax(z.astype(np.float64) / temperature)).max() for z, p in every)),
        probability_sum_error=_worst(*(np.abs(p.sum(axis=1, dtype=np.float64) - 1).max() for _, p in every)),
        probability_shift_p99=float(np.quantile(shifts, 0.99)),
        known=(known, known_to_file),
        decided_on=probes.decided_on,
        images=len(probes.decisions),
        flips=_flips(decided[0], truth.decisions, record.labels, temperature),
        accuracy=_accuracy(decided, truth.decisions, probes.labels),
    )


def _batch_sizes(images: Images) -> tuple[int, ...]:
    """Return ``BATCHES``; of pictures larger than 28 x 28 the last has fewer, so that memory is bounded."""
    *small, large = BATCHES
    return *small, max(small[-1] + 1, min(large, large * 28 * 28 // images[0].size))


def _answers(run: Scorer, batches: Iterable[Images]) -> tuple[np.ndarray, np.ndarray]:
    parts = []
    for batch in batches:
        logits, chances = run(batch)
        if len(logits) != len(batch):
            raise ValueError(f"{len(logits)} answers to {len(batch)} pictures: its batch size is frozen")
        parts.append((logits, chances))
    return np.concatenate([logits for logits, _ in parts]), np.concatenate([chances for _, chances in parts])


def _worst(*values: Any) -> float:
    return float(np.max(values))  # NaN wins, and then no bound holds


def _flips(logits: np.ndarray, reference: np.ndarray, labels: tuple[str, ...], temperature: float) -> tuple[Flip, ...]:
    wanted, given = reference.argmax(axis=1), logits.argmax(axis=1)
    changed = np.flatnonzero(wanted != given)
    best = np.sort(softmax(reference[changed].astype(np.float64) / temperature), axis=1)
    return tuple(
        Flip(int(image), labels[wanted[image]], labels[given[image]], round(float(row[-1] - row[-2]), 6))
        for image, row in zip(changed, best, strict=True)
    )


def _accuracy(
    decided: tuple[np.ndarray, np.ndarray], reference: np.ndarray, labels: np.ndarray | None
) -> Accuracy | None:
    logits, chances = decided
    if labels is None or not np.isfinite(chances).all():
        return None
    return Accuracy(
        reference=float((reference.argmax(axis=1) == labels).mean()),
        file=float((logits.argmax(axis=1) == labels).mean()),
        nll=nll_of_probabilities(chances, labels),
        ece=calibration_error(chances, labels),
    )
