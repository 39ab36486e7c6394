"""What a form may differ by before the gate closes."""

from dataclasses import dataclass

import numpy as np

from fmnist_edge_runtime.contract import SelfTest

REFERENCE_TOLERANCE = 1e-4  # of logits, between PyTorch on one CPU and on another
_LEAST_TOLERANCE = 1e-4  # the last digit of a tolerance; recorded logits have two more


@dataclass(frozen=True)
class Bounds:
    """What a form may differ by.

    ``dlogit`` bounds logits, unless they are rounded. ``shift`` bounds the difference of probabilities, in 99 of 100
    images: logits that keep their order and not their size make other ones. ``flipped_share`` bounds the share
    of images that get another label, ``known_share`` the difference between the shares that are known.
    """

    dlogit: float | None
    shift: float
    flipped_share: float
    known_share: float
    flip_gap: float
    accuracy_loss: float

    def self_test(self, reference: np.ndarray, own: np.ndarray) -> tuple[float, float]:
        """Return the tolerances of a self-test: against PyTorch's logits, and against the file's own when it was made.

        Where logits are rounded to 8 bits, 1 % of their range is left to another CPU's integer kernels; and the file
        must not be farther from PyTorch than when it was made.
        """
        if self.dlogit is not None:
            return self.dlogit, self.dlogit
        of_file = 0.01 * float(np.ptp(reference))
        tolerances = float(np.abs(own - reference).max()) + of_file, of_file
        return max(round(tolerances[0], 4), _LEAST_TOLERANCE), max(round(tolerances[1], 4), _LEAST_TOLERANCE)


FLOAT = Bounds(dlogit=1e-4, shift=1e-3, flipped_share=0.0, known_share=0.001, flip_gap=0.0, accuracy_loss=0.0)
INT8 = Bounds(dlogit=None, shift=0.05, flipped_share=0.005, known_share=0.01, flip_gap=0.10, accuracy_loss=0.0010)


def judge_tolerances(test: SelfTest, bounds: Bounds) -> str:
    """Return which tolerances of a self-test are larger than an export writes; nothing if none is."""
    of_export = bounds.self_test(np.array(test.reference_logits), np.array(test.file_logits))
    rounding = _LEAST_TOLERANCE if bounds.dlogit is None else 0.0  # of recorded logits, which those of int8 follow from
    allowed = np.array(of_export) + rounding
    if test.reference_tolerance > allowed[0] or test.file_tolerance > allowed[1]:
        return f"its tolerances of {test.reference_tolerance:g} and {test.file_tolerance:g} are too large"
    return ""
