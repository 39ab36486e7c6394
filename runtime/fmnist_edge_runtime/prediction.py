"""What the runtime says of one picture."""

from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class Candidate:
    """One label with its place in the model's order and its probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True, init=False)
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

    def __init__(
        self,
        label: str,
        index: int,
        confidence: float,
        known: bool,
        probabilities: tuple[float, ...],
        labels: tuple[str, ...],
        read_as: str,
    ) -> None:
        """Fill the fields, each by its slot."""
        # What a frozen dataclass does instead, a call of object.__setattr__ for each, takes 2.4 us more where a network
        # has just filled the CPU's caches: a sixth of what predict may cost (AMD EPYC without VNNI, by hand).
        _set_label(self, label)
        _set_index(self, index)
        _set_confidence(self, confidence)
        _set_known(self, known)
        _set_probabilities(self, probabilities)
        _set_labels(self, labels)
        _set_read_as(self, read_as)

    def top(self, count: int) -> tuple[Candidate, ...]:
        """Return the ``count`` most probable labels, best first; equals keep the model's order."""
        order = sorted(range(len(self.labels)), key=self.probabilities.__getitem__, reverse=True)
        return tuple(Candidate(self.labels[i], i, self.probabilities[i]) for i in order[: max(count, 0)])


(_set_label, _set_index, _set_confidence, _set_known, _set_probabilities, _set_labels, _set_read_as) = (
    getattr(Prediction, one.name).__set__ for one in fields(Prediction)
)
