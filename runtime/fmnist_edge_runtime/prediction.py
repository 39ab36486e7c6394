"""What the runtime says of one picture."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Candidate:
    """One label with its place in the model's order and its probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer: hashable, comparable, and independent of the model that gave it.

    ``probabilities`` and ``labels`` are in the model's order; ``confidence`` is the best probability; ``known`` is
    false where the model's own rule says that the picture is none of its labels, or where nothing was found in it.
    ``read_as`` is how it was read: ``"fmnist"`` or ``"photo"``.
    """

    label: str
    index: int
    confidence: float
    known: bool
    probabilities: tuple[float, ...]
    labels: tuple[str, ...] = field(repr=False)
    read_as: str

    def top(self, count: int) -> tuple[Candidate, ...]:
        """Return the ``count`` most probable labels, best first; equals keep the model's order."""
        order = sorted(range(len(self.labels)), key=self.probabilities.__getitem__, reverse=True)
        return tuple(Candidate(self.labels[i], i, self.probabilities[i]) for i in order[: max(count, 0)])
