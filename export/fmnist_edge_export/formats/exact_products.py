"""How large int8 weights may be, so that x86 adds their products exactly, on old CPUs as on new ones.

Without VNNI it multiplies two neighbours, uint8 inputs by int8 weights, and adds both products in 16 bits
(``vpmaddubsw``), which end at 32,767: too few for 255 times two weights of 127 steps, enough for 255 * 128. So weights
of one sign that meet there have no more than 127 steps together, and one more does no harm. Half of the steps for every
weight (``reduce_range`` of onnxruntime) is safe as well, and coarser: in a trained network large weights are rare and
seldom meet.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, helper

MULTIPLIERS = ("Conv", "Gemm", "MatMul")  # the operators that integers are for
LARGEST = 127  # steps of a weight, or of two neighbours of one sign together
FITS = 128  # steps of two neighbours that 16 bits just hold
_HANDED_ON = 0.8  # of a rounding error, to the next weight

Indices = npt.NDArray[np.int64]
Weights = npt.NDArray[np.floating]


def neighbours(inputs: int, window: int) -> tuple[Indices, Indices]:
    """Return the pairs of weights that meet, as indices into a kernel ``[inputs, window]`` that is laid flat.

    onnxruntime goes through the window place by place, the channels of a place side by side, two numbers at a time.
    Of one channel every place is taken to meet the next, for where pairs begin depends on how its convolution is done
    (``pooled_first_layer.py``).
    """
    if inputs == 1:
        places = np.arange(window)
        return places[:-1], places[1:]
    order = np.arange(inputs * window).reshape(inputs, window).T.ravel()
    return order[0 : len(order) - 1 : 2], order[1::2]


def largest_together(kernels: Weights, inputs: int) -> Weights:
    """Return ``[outputs]``: the size of the largest weight of each kernel, or of two of one sign that meet.

    ``kernels`` is ``[outputs, inputs * window]``.
    """
    first, second = (kernels[:, which] for which in neighbours(inputs, kernels.shape[1] // inputs))
    together = np.abs(first + second) * (np.sign(first) == np.sign(second))
    largest: Weights = np.concatenate([np.abs(kernels), together], axis=1).max(axis=1)
    return largest


def rounded(kernels: Weights, inputs: int) -> tuple[Weights, Weights]:
    """Return ``kernels`` ``[outputs, inputs * window]`` in whole steps, and what 127 steps are of each ``[outputs]``.

    Inputs beside each other are alike, and after ReLU all are above 0, so errors of one sign add up. Most of what
    rounding takes from a weight is therefore given to the next one, as in error diffusion (Floyd and Steinberg 1976).
    Kernels in whole steps, the largest of which are 127, stay as they are.
    """
    largest = largest_together(kernels, inputs)
    step = np.where(largest == 0, 1, largest) / LARGEST
    steps = np.ascontiguousarray(kernels.T, np.float64) / step  # [inputs * window, outputs]
    beside: dict[int, list[int]] = defaultdict(list)
    for pair in zip(*(which.tolist() for which in neighbours(inputs, kernels.shape[1] // inputs)), strict=True):
        for one, other in (pair, pair[::-1]):
            beside[one].append(other)
    whole, error = np.zeros_like(steps), np.zeros_like(step)  # 0 where nothing is decided yet
    for number, values in enumerate(steps):
        wanted = values + _HANDED_ON * error
        taken = whole[beside[number]]
        lowest, highest = -LARGEST - taken.min(axis=0, initial=0), LARGEST - taken.max(axis=0, initial=0)
        whole[number] = np.clip(np.round(wanted), lowest, highest)
        error = wanted - whole[number]
    result: Weights = (whole * step).T.astype(kernels.dtype)
    return result, largest


@dataclass(frozen=True)
class Layer:
    """Kernels ``[outputs, inputs * window]``, and the axis of the outputs in the weights that they were taken from."""

    kernels: Weights
    inputs: int
    axis: int

    def as_weights(self, kernels: Weights, shape: tuple[int, ...]) -> Weights:
        """Return kernels of this layer as weights of the shape that its own were taken from."""
        return np.ascontiguousarray(kernels if self.axis == 0 else kernels.T).reshape(shape)


def multiplied_in(node: NodeProto, weights: Mapping[str, Weights]) -> Layer | None:
    """Return what an operator multiplies its input by; None if it is none of ``weights``, by name, or no matrix."""
    values = weights.get(node.input[1]) if node.op_type in MULTIPLIERS else None
    if values is None or not values.size:
        return None
    if node.op_type == "Conv":
        return Layer(values.reshape(len(values), -1), values.shape[1], 0)
    if values.ndim != 2:
        return None
    transposed = any(entry.name == "transB" and helper.get_attribute_value(entry) for entry in node.attribute)
    kernels = values if transposed else values.T
    return Layer(kernels, kernels.shape[1], 0 if transposed else 1)
