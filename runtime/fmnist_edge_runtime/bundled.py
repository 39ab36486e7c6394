"""Where the default model is: inside an installed wheel, or among the artifacts of a checkout."""

from pathlib import Path

from fmnist_edge_runtime.errors import ModelError

NAME = "edge.int8.onnx"


def bundled_model() -> Path:
    """Return the path of the default model.

    Raises:
        ModelError: the installation is incomplete.
    """
    here = Path(__file__).resolve().parent
    for path in (here / "bundled" / NAME, here.parents[1] / "artifacts" / "edge" / NAME):
        if path.is_file():
            return path
    raise ModelError(f"{here}: the default model {NAME} is missing from this installation; install fmnist-edge again")
