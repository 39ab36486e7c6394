"""Replaying the self-test that a model file carries, on this machine."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fmnist_edge_runtime.contract import Contract
from fmnist_edge_runtime.session import Floats, Images


@dataclass(frozen=True)
class Replay:
    """The largest absolute differences of the logits, beside what they may be."""

    from_reference: float
    reference_tolerance: float
    from_file: float
    file_tolerance: float

    @property
    def ok(self) -> bool:
        """Whether both are within bounds (a NaN is not)."""
        return self.from_reference <= self.reference_tolerance and self.from_file <= self.file_tolerance


def replay(contract: Contract, run: Callable[[Images], tuple[Floats, Floats]]) -> Replay:
    """Run a model's self-test images and compare the logits with both recorded sets."""
    test = contract.self_test
    logits, _ = run(np.frombuffer(test.images, np.uint8).reshape(-1, contract.height, contract.width))

    def difference(recorded: tuple[tuple[float, ...], ...]) -> float:
        return float(np.abs(logits - np.array(recorded, np.float32)).max())

    return Replay(
        difference(test.reference_logits), test.reference_tolerance, difference(test.file_logits), test.file_tolerance
    )
