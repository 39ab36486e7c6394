"""fmnist-edge: export a Fashion-MNIST network, prove it, and run it on a small CPU.

    from fmnist_edge import Classifier

    prediction = Classifier().predict("boot.png")

Names are loaded when they are first used (PEP 562), so importing this package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import fmnist_edge_runtime  # noqa: F401 - turns telemetry off before anything imports onnxruntime; loads nothing

if TYPE_CHECKING:
    from fmnist_edge_export.api import export_model as export_model
    from fmnist_edge_export.proof.report import Check as Check
    from fmnist_edge_export.proof.report import Report as Report
    from fmnist_edge_export.verify import verify as verify
    from fmnist_edge_runtime.classifier import Classifier as Classifier
    from fmnist_edge_runtime.contract import Contract as Contract
    from fmnist_edge_runtime.errors import DataError as DataError
    from fmnist_edge_runtime.errors import FmnistEdgeError as FmnistEdgeError
    from fmnist_edge_runtime.errors import ImageError as ImageError
    from fmnist_edge_runtime.errors import MissingExtraError as MissingExtraError
    from fmnist_edge_runtime.errors import ModelError as ModelError
    from fmnist_edge_runtime.errors import ParityError as ParityError
    from fmnist_edge_runtime.picture import PictureSource as PictureSource
    from fmnist_edge_runtime.prediction import Candidate as Candidate
    from fmnist_edge_runtime.prediction import Prediction as Prediction
    from fmnist_edge_runtime.reader import ReadAs as ReadAs
    from fmnist_edge_runtime.selftest import Replay as Replay

__version__ = "0.1.0"

_ERRORS = ("DataError", "FmnistEdgeError", "ImageError", "MissingExtraError", "ModelError", "ParityError")
_HOMES = {
    "Candidate": "fmnist_edge_runtime.prediction",
    "Check": "fmnist_edge_export.proof.report",
    "Classifier": "fmnist_edge_runtime.classifier",
    "Contract": "fmnist_edge_runtime.contract",
    "PictureSource": "fmnist_edge_runtime.picture",
    "Prediction": "fmnist_edge_runtime.prediction",
    "ReadAs": "fmnist_edge_runtime.reader",
    "Replay": "fmnist_edge_runtime.selftest",
    "Report": "fmnist_edge_export.proof.report",
    "export_model": "fmnist_edge_export.api",
    "verify": "fmnist_edge_export.verify",
    **dict.fromkeys(_ERRORS, "fmnist_edge_runtime.errors"),
}

_EXTRA = ("matplotlib", "onnx", "onnx_ir", "onnxscript", "safetensors", "torch", "torchvision")


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name == "__all__":  # a star must not ask for what cannot be had here
        return __dir__()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOMES[name].startswith("fmnist_edge_runtime"):
        home = import_module(_HOMES[name])
    else:
        from fmnist_edge_export.extras import needs_export_extra

        with needs_export_extra(f"fmnist_edge.{name}"):
            home = import_module(_HOMES[name])
    value = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names that can be had here: help() and inspect load all of them."""
    from importlib.util import find_spec

    try:
        complete = all(map(find_spec, _EXTRA))
    except ValueError:  # what somebody has put into sys.modules
        complete = False
    return [*(name for name in sorted(_HOMES) if complete or name != "export_model"), "__version__"]
