"""The models the kit trains, by name."""

from collections.abc import Callable
from functools import partial

from torch import nn

from fmnist_edge_export.models.classroom import ClassroomCNN
from fmnist_edge_export.models.edge import Edge
from fmnist_edge_runtime.errors import ModelError

ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "cnn": partial(ClassroomCNN, batch_norm=False),
    "cnn_bn": partial(ClassroomCNN, batch_norm=True),
    "edge": Edge,
}


def build(name: str) -> nn.Module:
    """Return a new, untrained model.

    Raises:
        ModelError: there is no architecture of that name.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"{name}: no such architecture; the kit knows {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]()
