"""How this kit runs onnxruntime: one place, so that a model is proven under the options it is served with."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fmnist_edge_runtime.errors import ModelError, first_line
from fmnist_edge_runtime.modelfile import ModelFile

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Floats = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8]

INPUT, LOGITS, PROBABILITIES = "images", "logits", "probabilities"
_FATAL = 4


def create(model: ModelFile, threads: int) -> "InferenceSession":
    """Return a CPU session for a checked file, on ``threads`` threads that sleep between calls.

    Raises:
        ModelError: onnxruntime cannot run it, or its inputs and outputs are not those of the contract.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _FATAL  # what goes wrong is raised; the terminal belongs to the application
    try:
        # Without enable_fallback=0 a failure is printed to standard output and tried again in silence.
        session = onnxruntime.InferenceSession(
            model.content, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise cannot_run(model.source, error) from error
    _check_signature(session, model)
    return session


def cannot_run(source: str, error: Exception) -> ModelError:
    """Return what to raise where onnxruntime failed with ``error``."""
    from onnxruntime import __version__

    return ModelError(f"{source}: onnxruntime {__version__} cannot run it ({first_line(error)})")


def run(session: "InferenceSession", images: Images) -> tuple[Floats, Floats]:
    """Return logits and probabilities, float32 ``[N, K]`` each, for uint8 ``[N, H, W]``."""
    logits, probabilities = session.run([LOGITS, PROBABILITIES], {INPUT: images})
    return logits, probabilities


def run_probabilities(session: "InferenceSession", images: Images) -> Floats:
    """Return the probabilities alone, else as :func:`run`: one array less to make."""
    probabilities: Floats = session.run([PROBABILITIES], {INPUT: images})[0]
    return probabilities


def _check_signature(session: "InferenceSession", model: ModelFile) -> None:
    contract = model.contract
    inputs = {node.name: (node.type, node.shape[1:]) for node in session.get_inputs()}
    outputs = {node.name: (node.type, node.shape[1:]) for node in session.get_outputs()}
    scores = ("tensor(float)", [len(contract.labels)])
    if inputs != {INPUT: ("tensor(uint8)", [contract.height, contract.width])} or outputs != {
        LOGITS: scores,
        PROBABILITIES: scores,
    }:
        raise ModelError(
            f"{model.source}: refused, its inputs and outputs are not those of its metadata; export it again"
        )
