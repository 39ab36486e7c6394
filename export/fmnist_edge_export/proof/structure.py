"""What can be said of an exported file without running it."""

from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from fmnist_edge_export.formats.exact_products import FITS, MULTIPLIERS, largest_together, multiplied_in
from fmnist_edge_export.formats.onnx_core import IR_VERSION, OPSET, PIXELS
from fmnist_edge_export.formats.pooled_first_layer import names_in_first_layer
from fmnist_edge_export.formats.quantise import Ranges
from fmnist_edge_runtime.errors import first_line
from fmnist_edge_runtime.wire import has_external_data

_MOST_STEPS = 3  # that a weight is from its own; rounding, which hands errors on, has led to 1.4
_KINDS = ("QuantizeLinear", "DequantizeLinear")
_LAID_OUT_BY = ("Gather", "Transpose", "Reshape")  # a kernel may be stored more closely than it is used


def onnx_problems(content: bytes) -> list[str]:
    """Return what is wrong with an ONNX file's structure; nothing, if all is well."""
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        return [f"onnx.checker: {first_line(error)}"]
    problems = []
    if model.ir_version > IR_VERSION:
        problems.append(f"IR version {model.ir_version}, at most {IR_VERSION}")
    problems += [
        f"opset {entry.domain or 'ai.onnx'} {entry.version}, only ai.onnx up to {OPSET}"
        for entry in model.opset_import
        if entry.domain not in ("", "ai.onnx") or entry.version > OPSET
    ]
    if has_external_data(memoryview(content)):
        problems.append("external data")
    for value in [*model.graph.input, *model.graph.output]:
        batch = value.type.tensor_type.shape.dim[0]
        if not batch.dim_param:
            problems.append(f"{value.name}: the batch is frozen at {batch.dim_value}")
    return problems


def quantisation_problems(content: bytes, ranges: Ranges) -> list[str]:
    """Return where an int8 file's scales and zero points are not what the calibrated ranges ask for.

    Affine uint8: scale = (high - low) / 255 and zero point = round(-low / scale), with 0 inside the range; symmetric
    int8 and int32: zero point 0 (Nagel et al. 2021, arXiv 2106.08295, section 2). 0 is understood where none is given.
    Nor may int8 weights be larger than x86 multiplies exactly (``exact_products.py``).
    """
    model = onnx.load_model_from_string(content)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    ranges = {**ranges, PIXELS: (0.0, 1.0)}
    problems = []
    for operator, scale_name, zero_name in sorted(_quantisers(model)):
        value_name = scale_name.removesuffix("_scale")
        activation = operator == "QuantizeLinear" or value_name in ranges
        understood = np.zeros((), np.uint8 if activation else np.int8)
        scale, zero = values[scale_name], values[zero_name] if zero_name else understood
        if zero.dtype != np.uint8:
            if activation:
                problems.append(f"{value_name}: an activation in {zero.dtype}, not in uint8")
            elif zero.any():
                problems.append(f"{zero_name}: {zero.ravel()[zero.ravel() != 0][0]} where 0 is right")
            continue
        if value_name not in ranges:
            if operator == "QuantizeLinear":
                problems.append(f"{scale_name}: of no value that was calibrated")
            continue  # else a constant, which has a range of its own
        low, high = min(ranges[value_name][0], 0.0), max(ranges[value_name][1], 0.0)
        right_scale = (high - low) / 255 or 1.0  # of a tensor that is always 0
        right_zero = round(-low / right_scale)
        if not np.allclose(scale, right_scale, rtol=1e-5, atol=0):
            problems.append(f"{scale_name}: {float(scale):g} where {right_scale:g} is right")
        if int(zero) != right_zero:
            problems.append(f"{zero_name or value_name}: {int(zero)} where {right_zero} is right")
    problems += _taken_back_otherwise(model, values)
    problems += _inexact_products(model, values)
    if not any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        problems.append("nothing is quantised")
    return list(dict.fromkeys(problems))


def weight_problems(content: bytes, core: ModelProto) -> list[str]:
    """Return which weights, biases and other constants of an int8 file are not those of its float ``core``.

    Those in integers are taken back by their scales. A first layer that is written anew for its pooling
    (``pooled_first_layer.py``) has other weights than the core's, and is left to what the file answers.
    """
    model = onnx.load_model_from_string(content)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    own = {tensor.name: numpy_helper.to_array(tensor) for tensor in core.graph.initializer}
    rewritten = {f"{name}_quantized" for name in names_in_first_layer(core)}
    activations = {value.name for value in model.graph.input}
    problems = [
        f"{name}: not the network's"
        for name, value in values.items()
        if name in own and value.tobytes() != own[name].tobytes()
    ]
    for node in model.graph.node:
        if activations.intersection(node.input):
            activations.update(node.output)
        elif node.op_type == "DequantizeLinear" and node.input[0] not in rewritten:
            problems += _constant_problems(node, values, own)
    return problems + _bias_problems(model, values)


def _constant_problems(node: NodeProto, values: dict[str, np.ndarray], own: dict[str, np.ndarray]) -> list[str]:
    """Return in what a constant that ``node`` takes back is not the network's."""
    name = node.input[0]
    of = name.removesuffix("_quantized")
    of = of if of in own else of.rstrip("0123456789")  # a bias that several read is there once for each
    if name not in values or of not in own:
        return [f"{name}: no constant of the network"]
    scale, zero = values[node.input[1]], values[node.input[2]] if len(node.input) > 2 else np.zeros(())
    if scale.ndim:
        axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 1)
        around = tuple(place for place in range(own[of].ndim) if place != axis)
        scale, zero = np.expand_dims(scale, around), np.expand_dims(zero, around) if zero.ndim else zero
    off = np.abs((values[name] - zero.astype(float)) * scale - own[of])
    if (off <= _MOST_STEPS * scale).all():
        return []
    with np.errstate(all="ignore"):  # a scale may be 0
        steps = float((off / scale).max())
    return [f"{name}: {steps:.3g} steps from the network's, at most {_MOST_STEPS}"]


def _bias_problems(model: ModelProto, values: dict[str, np.ndarray]) -> list[str]:
    """Return the biases whose scale is not the product of inputs' and weights': older onnxruntimes take it for that."""
    taken_back = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    problems = []
    for node in model.graph.node:
        parts = [taken_back[name] for name in node.input if name in taken_back]
        if node.op_type in MULTIPLIERS and len(parts) == 3:
            of_input, of_weights, of_bias = (values[part.input[1]] for part in parts)
            if not np.allclose(of_bias, of_input * of_weights, rtol=1e-5, atol=0):
                problems.append(f"{parts[2].input[1]}: not the product of its inputs' and its weights'")
    return problems


def _quantisers(model: ModelProto) -> set[tuple[str, str, str]]:
    """Return operator, scale and zero point, which may be missing, of all that quantises or takes it back."""
    found = [(node.op_type, *node.input[1:3], "") for node in model.graph.node if node.op_type in _KINDS]
    return {(operator, scale, zero) for operator, scale, zero, *_ in found}


def _taken_back_otherwise(model: ModelProto, values: dict[str, np.ndarray]) -> list[str]:
    """Return what is quantised by one scale or zero point, and taken back by another."""

    def parameters(node: NodeProto) -> tuple[Any, Any]:
        zero = node.input[2] if len(node.input) > 2 else ""
        return values[node.input[1]].tolist(), values[zero].tolist() if zero else 0

    quantised = {node.output[0]: parameters(node) for node in model.graph.node if node.op_type == "QuantizeLinear"}
    return [
        f"{node.input[0]}: taken back by {' and '.join(node.input[1:3])}, quantised by others"
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in quantised
        and parameters(node) != quantised[node.input[0]]
    ]


def _inexact_products(model: ModelProto, values: dict[str, np.ndarray]) -> list[str]:
    """Return the int8 weights of which two neighbours' products do not fit into 16 bits, or may not."""
    constants = {name: (name, value) for name, value in values.items()}  # with the stored tensor they are made of
    dequantised_from: dict[str, str] = {}
    problems, known = [], set()
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            dequantised_from[node.output[0]] = node.input[0]
        elif node.op_type in _LAID_OUT_BY and all(name in constants for name in node.input):
            evaluator: Any = ReferenceEvaluator(node)
            (laid_out,) = evaluator.run(None, {name: constants[name][1] for name in node.input})
            constants[node.output[0]] = constants[node.input[0]][0], laid_out
        elif node.op_type in MULTIPLIERS:
            stored, weights = constants.get(dequantised_from.get(node.input[1], ""), ("", np.zeros(0)))
            if weights.dtype == np.uint8:
                problems.append(f"{stored}: weights in uint8, not in int8")
            layer = multiplied_in(node, {node.input[1]: weights.astype(np.int16)}) if weights.dtype == np.int8 else None
            if layer is not None:
                known.add(stored)
                if (largest := largest_together(layer.kernels, layer.inputs).max()) > FITS:
                    problems.append(f"{stored}: neighbours of {largest} steps, {FITS} fit")
    matrices = {name for name, value in values.items() if value.dtype == np.int8 and value.ndim > 1}
    return problems + [f"{name}: int8, and not the weights of a layer" for name in sorted(matrices - known)]
