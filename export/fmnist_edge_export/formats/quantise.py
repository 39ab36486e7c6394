"""Static int8 quantisation of a float core: uint8 activations, int8 weights per channel, QDQ form.

Nagel et al. 2021, "A White Paper on Neural Network Quantization" (arXiv 2106.08295), sections 2 and 3. How far the
weights go is in ``exact_products.py``.
"""

import copy
import logging
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    create_calibrator,
)
from onnxruntime.quantization.calibrate import TensorData, TensorsData

from fmnist_edge_export.data import in_batches
from fmnist_edge_export.formats.exact_products import MULTIPLIERS, Layer, multiplied_in, rounded
from fmnist_edge_export.formats.onnx_core import LOGITS, PIXELS
from fmnist_edge_export.formats.pooled_first_layer import pool_in_first_layer, store_kernel_once
from fmnist_edge_export.formats.quiet import quiet
from fmnist_edge_runtime.errors import ModelError
from fmnist_edge_runtime.session import Images

Ranges = dict[str, tuple[float, float]]
Spans = dict[str, list[dict[str, Any]]]
CALIBRATION_IMAGES = 4096
PERCENTILE = 99.999
_BATCH = 128
_INTEGER_OPERATORS = ["Conv", "Relu", "MaxPool", "Add", "Gemm", "MatMul", "AveragePool", "Concat"]


class _Pictures(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    def __init__(self, images: Images) -> None:
        self._batches = iter([{PIXELS: images[:, None].astype(np.float32) / 255}])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def calibration_images(images: Images) -> Images:
    """Return up to 4,096 of ``images``, evenly spread."""
    chosen: Images = images[np.linspace(0, len(images) - 1, min(len(images), CALIBRATION_IMAGES)).astype(int)]
    return chosen


def calibrate(core: ModelProto, images: Images) -> Ranges:
    """Return the range of every activation over uint8 ``images`` ``[M, H, W]``, but for 1 in 100,000 values."""
    with tempfile.TemporaryDirectory() as folder, quiet():  # onnxruntime prints
        path = Path(folder, "core.onnx")
        onnx.save(core, path)
        calibrator = create_calibrator(
            path,
            augmented_model_path=str(Path(folder, "augmented.onnx")),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"percentile": PERCENTILE},
        )
        calibrator.set_execution_providers(["CPUExecutionProvider"])
        for part in in_batches(images, _BATCH):  # the calibrator keeps every activation of what it is given at once
            calibrator.collect_data(_Pictures(part))
        data = calibrator.compute_data()
    return {name: (value.range_value[0].item(), value.range_value[1].item()) for name, value in data.items()}


def can_be_quantised(core: ModelProto) -> bool:
    """Tell whether anything but the last layer multiplies: the last one stays float."""
    others = _layers(core)[1]
    return any(node.op_type in MULTIPLIERS and node.name not in others for node in core.graph.node[: _last_layer(core)])


def quantise(core: ModelProto, ranges: Ranges) -> ModelProto:
    """Return ``core`` in integers, its first layer and the pooling after it as one where they can be.

    Raises:
        ModelError: the ranges are those of another network.
    """
    _check(ranges, core)
    core, spans, others = _in_whole_steps(core)
    pooled, ranged_as = pool_in_first_layer(core)
    if not ranged_as or core.graph.node[0].input[1] not in spans:
        return _in_integers(core, spans, others, ranges)
    kernel, corners = (graph.node[0].input[1] for graph in (core.graph, pooled.graph))
    outputs = next(tensor.dims[0] for tensor in pooled.graph.initializer if tensor.name == corners)
    of_channels = spans.pop(kernel)
    spans[corners] = of_channels * (outputs // len(of_channels))  # the same in every corner
    ranges = ranges | {name: ranges[other] for name, other in ranged_as.items()}
    quantised = _in_integers(pooled, spans, others, ranges, ["Transpose", "Reshape"])
    store_kernel_once(quantised)
    return quantised


def quantise_as_it_is(core: ModelProto, ranges: Ranges) -> ModelProto:
    """Return ``core`` with integer convolutions and matrix products, but for the last layer.

    The last layer decides and costs next to nothing, so it stays float, and so does what comes after it.

    Raises:
        ModelError: the ranges are those of another network.
    """
    _check(ranges, core)
    return _in_integers(*_in_whole_steps(core), ranges)


def _in_integers(
    core: ModelProto, spans: Spans, others: Sequence[str], ranges: Ranges, also: Sequence[str] = ()
) -> ModelProto:
    """Quantise, but for ``others``; ``also`` are operators that only move values, to be done on integers."""
    ranges = {**ranges, PIXELS: (0.0, 1.0)}  # scale 1/255, zero point 0: the raw pixels, whatever the images showed
    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    typed = onnx.shape_inference.infer_shapes(copy.deepcopy(core))
    quantizer = QDQQuantizer(
        typed,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=[],
        nodes_to_exclude=[*others, *(node.name for node in core.graph.node[_last_layer(core) :])],
        op_types_to_quantize=[*_INTEGER_OPERATORS, *also],
        extra_options={"TensorQuantOverrides": spans},
    )
    logging.root.addHandler(quiet := logging.NullHandler())  # else logging sets one up, and no application's any more
    try:
        quantizer.quantize_model()
    finally:
        logging.root.removeHandler(quiet)
    quantizer.model.topological_sort()
    quantised: ModelProto = quantizer.model.model
    del quantised.graph.value_info[:]
    _leave_out_what_is_understood(quantised)
    return quantised


def _in_whole_steps(core: ModelProto) -> tuple[ModelProto, Spans, list[str]]:
    """Return ``core`` with rounded weights; the range of each output, by the weight's name; and what stays float."""
    core = copy.deepcopy(core)
    tensors = {tensor.name: tensor for tensor in core.graph.initializer}
    spans: Spans = {}
    layers, others = _layers(core)
    for name, layer in layers.items():
        kernels, largest = rounded(layer.kernels, layer.inputs)
        tensors[name].CopyFrom(numpy_helper.from_array(layer.as_weights(kernels, tuple(tensors[name].dims)), name))
        spans[name] = [{"axis": layer.axis, "rmin": -size, "rmax": size} for size in largest.tolist()]
    return core, spans, others


def _layers(core: ModelProto) -> tuple[dict[str, Layer], list[str]]:
    """Return the layers before the last that can be in int8, by their weights' names; and the operators that cannot.

    Those whose weights are no float32 matrices or kernels, come first in a product, or are read by others in another
    way: of them it is not known which weights meet (``exact_products.py``).
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in core.graph.initializer}
    weights = {name: value for name, value in constants.items() if value.dtype == np.float32}
    last = _last_layer(core)
    ways = defaultdict(set)  # in which a value is read: as the weights of a layer, or None
    for number, node in enumerate(core.graph.node):
        for place, name in enumerate(node.input):
            layer = multiplied_in(node, weights) if number < last and place == 1 else None
            ways[name].add(layer and (layer.axis, layer.inputs))
    layers, others = {}, []
    for node in core.graph.node[:last]:
        if node.op_type not in MULTIPLIERS or constants.keys().isdisjoint(node.input[:2]):
            continue  # the product of two computed values is exact: both are uint8
        layer = multiplied_in(node, weights)
        if layer is not None and len(ways[node.input[1]]) == 1:
            layers[node.input[1]] = layer
        else:
            others.append(node.name)
    return layers, others


def _leave_out_what_is_understood(quantised: ModelProto) -> None:
    """Drop nodes' names and convolutions' zero points, which are 0 where none is given, in place.

    Other operators keep theirs: without one, onnxruntime leaves a Gemm in float.
    """
    graph = quantised.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    of_convolutions = {name for node in graph.node if node.op_type == "Conv" for name in node.input[1:]}
    for node in graph.node:
        node.ClearField("name")
        if node.op_type == "DequantizeLinear" and len(node.input) == 3 and node.output[0] in of_convolutions:
            zero_point = weights.get(node.input[2])
            if zero_point is not None and not numpy_helper.to_array(zero_point).any():
                del node.input[2]
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _last_layer(core: ModelProto) -> int:
    """Return the place of the last operator that multiplies; the last of all where none does."""
    layers = [place for place, node in enumerate(core.graph.node) if node.op_type in MULTIPLIERS]
    return layers[-1] if layers else len(core.graph.node) - 1


def _check(ranges: Ranges, core: ModelProto) -> None:
    typed = onnx.shape_inference.infer_shapes(core).graph.value_info
    others = {value.name for value in typed if value.type.tensor_type.elem_type != TensorProto.FLOAT}  # sizes, choices
    missing = sorted({name for node in core.graph.node for name in node.output} - set(ranges) - {LOGITS} - others)
    if missing:
        raise ModelError(
            f"no calibration range for {missing[0]}; the ranges kept with the weights are another network's"
        )
