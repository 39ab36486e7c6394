"""The pictures that a file is proven on."""

from dataclasses import dataclass

import numpy as np

from fmnist_edge_runtime.contract import MOST_SELF_TEST_IMAGES
from fmnist_edge_runtime.session import Images

COUNT = 256


@dataclass(frozen=True)
class Probes:
    """``numbers`` mixes real and made-up pictures; ``decisions`` are real ones, with their labels where known."""

    numbers: Images
    decisions: Images
    labels: np.ndarray | None
    decided_on: str
    self_test: Images


def make_probes(real: Images, labels: np.ndarray | None, decided_on: str, self_test: Images) -> Probes:
    """Return the probes for real pictures uint8 ``[M, H, W]``, M >= 1; a few of ``self_test`` go into the files."""
    synthetic = _synthetic(real.shape[1], real.shape[2])
    chosen = np.linspace(0, len(real) - 1, COUNT - len(synthetic)).astype(int)
    return Probes(
        numbers=np.concatenate([synthetic, real[chosen]]),
        decisions=real,
        labels=labels,
        decided_on=decided_on,
        self_test=self_test[:: max(1, len(self_test) // MOST_SELF_TEST_IMAGES)][:MOST_SELF_TEST_IMAGES],
    )


def _synthetic(height: int, width: int) -> Images:
    """Return constants, checkerboards, and noise, bright, dim and nearly black: uint8 ``[14, H, W]``.

    Among real pictures there may be no dark one, and a network that brightens those is another one for them.
    """
    rows, columns = np.indices((height, width))
    constants = [np.full((height, width), value) for value in (0, 128, 255)]
    boards = [((rows // size + columns // size) % 2) * 255 for size in (1, 4)]
    noise = np.random.default_rng(0).integers(0, 256, (3, height, width))
    return np.concatenate([[*constants, *boards], noise, noise // 4, noise // 32]).astype(np.uint8)
