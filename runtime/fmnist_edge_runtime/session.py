"""How this kit runs onnxruntime: one place, so that a model is proven under the options it is served with."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from fmnist_edge_runtime.errors import ModelError, first_line
from fmnist_edge_runtime.modelfile import ModelFile

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, NodeArg

Floats = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8]
Scorer = Callable[[Images], tuple[Floats, Floats]]  # uint8 [N, H, W] to logits and probabilities [N, K]
Answer = TypeVar("Answer")

INPUT, LOGITS, PROBABILITIES = "images", "logits", "probabilities"
_FATAL = 4


class Session:
    """A model file loaded by onnxruntime: any number of threads may call it at once.

    ``inference`` is onnxruntime's own session.
    """

    def __init__(self, model: ModelFile, threads: int) -> None:
        """Load a checked file for the CPU, on ``threads`` threads that sleep between calls.

        Raises:
            ModelError: onnxruntime cannot run it, or its inputs and outputs are not those of the contract.
        """
        self.inference = _load(model, threads)
        self._size = (model.contract.height, model.contract.width)
        self._labels = len(model.contract.labels)
        self._idle: list[_OneImage] = []  # as many as calls were ever under way at once

    def run(self, images: Images) -> tuple[Floats, Floats]:
        """Return logits and probabilities, float32 ``[N, K]`` each, for uint8 ``[N, H, W]``."""
        logits, probabilities = self._ask([LOGITS, PROBABILITIES], images)
        return logits, probabilities

    def probabilities(self, images: Images) -> Floats:
        """Return the probabilities alone, else as :meth:`run`; a single image takes a faster way to the same."""
        return self._ask([PROBABILITIES], images)[0] if len(images) != 1 else self._of_one(images, np.ndarray.copy)

    def row(self, image: Images) -> list[float]:
        """Return the probabilities of a single image, uint8 ``[H, W]``."""
        row: list[float] = self._of_one(image, np.ndarray.tolist)[0]
        return row

    def _ask(self, outputs: list[str], images: Images) -> list[Floats]:
        answers: list[Floats] = self.inference.run(outputs, {INPUT: images})
        wanted = (len(images), self._labels)
        if any(answer.shape != wanted for answer in answers):  # a graph may compute another than it declares
            shapes = ", ".join(str(list(answer.shape)) for answer in answers)
            raise ValueError(f"it answers in the shape of {shapes}, not {list(wanted)}")
        return answers

    def _of_one(self, image: Images, taken: Callable[[Floats], Answer]) -> Answer:
        """Return what ``taken`` makes of the probabilities ``[1, K]`` of a single image, whose shape was checked."""
        # Nobody else has it while it is in use, be it another thread or a signal handler. After an error it is let go.
        try:
            one = self._idle.pop()
        except IndexError:
            one = _OneImage(self.inference, self._size, self._labels)
        one.image[:] = image
        self.inference.run_with_iobinding(one.binding)
        answer = taken(one.probabilities)
        self._idle.append(one)
        return answer


class _OneImage:
    """An image and its answer in memory that onnxruntime was told of once; telling it in each call takes longer."""

    __slots__ = ("binding", "image", "probabilities")

    def __init__(self, inference: "InferenceSession", size: tuple[int, int], labels: int) -> None:
        from onnxruntime import OrtValue

        self.image, self.probabilities = np.empty((1, *size), np.uint8), np.empty((1, labels), np.float32)
        self.binding = inference.io_binding()
        self.binding.bind_cpu_input(INPUT, self.image)
        self.binding.bind_ortvalue_output(PROBABILITIES, OrtValue.ortvalue_from_numpy(self.probabilities))  # no copy


def _load(model: ModelFile, threads: int) -> "InferenceSession":
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


def is_of_the_engine(error: Exception) -> bool:
    """Tell what onnxruntime raised, or ``Session`` of its answer, from what a signal handler raised in its midst."""
    return type(error) in (RuntimeError, ValueError, MemoryError) or type(error).__module__.startswith("onnxruntime.")


def _check_signature(session: "InferenceSession", model: ModelFile) -> None:
    contract = model.contract
    inputs = {node.name: _declared(node) for node in session.get_inputs()}
    outputs = {node.name: _declared(node) for node in session.get_outputs()}
    scores = ("tensor(float)", "any", [len(contract.labels)])
    if inputs != {INPUT: ("tensor(uint8)", "any", [contract.height, contract.width])} or outputs != {
        LOGITS: scores,
        PROBABILITIES: scores,
    }:
        raise ModelError(
            f"{model.source}: refused, its inputs and outputs are not those of the contract; export it again"
        )


def _declared(node: "NodeArg") -> tuple[str, object, list[object]]:
    """Return the type, how many pictures at once, and the shape of each."""
    at_once = node.shape[0] if node.shape else None
    return node.type, at_once if isinstance(at_once, int) else "any", node.shape[1:]
