"""The models the kit trains, by name."""

from collections.abc import Callable
from functools import partial

from torch import nn

from fmnist_edge_export.models.classroom import ClassroomCNN
from fmnist_edge_export.models.residual import ResidualNet
from fmnist_edge_runtime.errors import ModelError

# What a model begins as, or what that began as, has a name of its own.
_EDGE_BEFORE = partial(ResidualNet, widths=(32, 32, 48), blocks=(0, 2, 2))
_EDGE = partial(ResidualNet, widths=(32, 32, 48), blocks=(0, 3, 2))
_EDGE_LARGE = partial(ResidualNet, widths=(16, 64, 128), blocks=(2, 2, 2))

ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "cnn": partial(ClassroomCNN, batch_norm=False),
    "cnn_bn": partial(ClassroomCNN, batch_norm=True),
    "edge": _EDGE,
    "edge_first": _EDGE_BEFORE,
    "edge_second": _EDGE_BEFORE,
    "edge_third": _EDGE,
    "edge_large": _EDGE_LARGE,
    "edge_large_first": _EDGE_LARGE,
    "teacher_9": partial(ResidualNet, widths=(32, 64, 128), blocks=(0, 1, 2)),  # by their number of convolutions
    "teacher_11": partial(ResidualNet, widths=(32, 64, 128), blocks=(0, 2, 2)),
    "teacher_15": _EDGE_LARGE,
}


def build(name: str) -> nn.Module:
    """Return a new, untrained model.

    Raises:
        ModelError: there is no architecture of that name.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"{name}: no such architecture; the kit knows {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]()
