"""Replaying the self-test that a model file carries, on this machine."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmnist_edge_runtime.contract import Contract
from fmnist_edge_runtime.session import Scorer

PROBABILITY_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Replay:
    """The largest absolute differences, beside what they may be.

    Of the logits from those of the network that the file was made of and from the file's own where it was made; of the
    probabilities from softmax(logits / temperature).
    """

    from_reference: float
    reference_tolerance: float
    from_file: float
    file_tolerance: float
    from_softmax: float
    softmax_tolerance: float = PROBABILITY_TOLERANCE

    @property
    def ok(self) -> bool:
        """Whether all are within bounds (a NaN is not)."""
        return (
            self.from_reference <= self.reference_tolerance
            and self.from_file <= self.file_tolerance
            and self.from_softmax <= self.softmax_tolerance
        )


def replay(contract: Contract, run: Scorer) -> Replay:
    """Run a model's self-test images; compare the logits with both recorded sets and the probabilities with those."""
    test = contract.self_test
    logits, probabilities = run(np.frombuffer(test.images, np.uint8).reshape(-1, contract.height, contract.width))

    def difference(recorded: tuple[tuple[float, ...], ...]) -> float:
        return float(np.abs(logits - np.array(recorded, np.float32)).max())

    with np.errstate(all="ignore"):  # whatever the application has set: temperatures may be near 0, numbers too large
        expected = softmax(logits.astype(np.float64) / contract.temperature)
        return Replay(
            difference(test.reference_logits),
            test.reference_tolerance,
            difference(test.file_logits),
            test.file_tolerance,
            float(np.abs(probabilities - expected).max()),
        )


def softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return probabilities ``[N, K]`` for logits ``[N, K]``, in the precision of the logits; NaN for infinite ones."""
    with np.errstate(invalid="ignore", under="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
