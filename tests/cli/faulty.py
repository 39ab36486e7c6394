"""The real command line with one fault put between the reference and the proof.

python faulty.py FAULT export ...
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from fmnist_edge.cli import main
from fmnist_edge_export import data
from fmnist_edge_export.formats.registry import FORMATS


def in_graph(change):
    """A fault in the graph, made after the form was built."""

    def faulty(form):
        def build(source):
            model = onnx.load_model_from_string(form.build(source))
            change(model)
            return model.SerializeToString(deterministic=True)

        return replace(form, build=build)

    return faulty


def in_metadata(change):
    """A fault in what the file says of itself."""

    def faulty(form):
        def seal(graph, metadata):
            return form.seal(graph, change(metadata))

        return replace(form, seal=seal)

    return faulty


def constant(name, change):
    """A fault in one constant of the graph."""

    def alter(model):
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        changed = np.asarray(change(numpy_helper.to_array(tensor).copy()))
        tensor.CopyFrom(numpy_helper.from_array(changed, name))

    return in_graph(alter)


def nudge_one(weights):
    weights.flat[7] += 0.01
    return weights


def meet_at_their_largest(weights):
    weights[0, :2, 0, 0] = 127
    return weights


def freeze_batch(model):
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1


def leave_out_a_zero_point(model):
    for node in model.graph.node:
        if "conv_7_zero_point" in node.input:
            node.input.remove("conv_7_zero_point")


def name_a_scale_otherwise(model):
    leave_out_a_zero_point(model)
    for node in model.graph.node:
        node.input[:] = [name.replace("conv_7_scale", "other") for name in node.input]
    next(tensor for tensor in model.graph.initializer if tensor.name == "conv_7_scale").name = "other"


def take_back_by_a_like_scale(model):
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and "relu_16_scale" in node.input:
            node.input[1] = "relu_1_scale"  # 1 % more


def shrink_scores(model):
    for tensor in model.graph.initializer:
        if tensor.name.startswith("head."):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(0.2), tensor.name))


def swap_labels(metadata):
    labels = list(metadata["labels"])
    labels[0], labels[6] = labels[6], labels[0]
    return metadata | {"labels": labels}


FAULTS = {
    "none": ("onnx", lambda form: form),
    "changed weight": ("onnx", constant("head.weight", nudge_one)),
    "frozen batch": ("onnx", in_graph(freeze_batch)),
    "missing scaling": ("onnx", constant("contract_largest_pixel", lambda value: value / np.float32(255))),
    "doubled scaling": ("onnx", constant("contract_largest_pixel", lambda value: value * np.float32(255))),
    "swapped labels": ("onnx", in_metadata(swap_labels)),
    "forgotten temperature": ("onnx", constant("contract_temperature", lambda value: value * 0 + np.float32(1))),
    "none, int8": ("onnx-int8", lambda form: form),
    "wrong zero point": ("onnx-int8", constant("relu_6_zero_point", lambda value: value + np.uint8(1))),
    "missing zero point": ("onnx-int8", in_graph(leave_out_a_zero_point)),
    "a scale of another name": ("onnx-int8", in_graph(name_a_scale_otherwise)),
    "taken back by another scale": ("onnx-int8", in_graph(take_back_by_a_like_scale)),
    "scores of a fifth": ("onnx-int8", in_graph(shrink_scores)),
    "weights taken back by 3 % more": (
        "onnx-int8",
        constant("blocks1.0.second.conv.weight_scale", lambda scale: scale * np.float32(1.03)),
    ),
    "products too large": ("onnx-int8", constant("widen1.conv.weight_quantized", meet_at_their_largest)),
    "wrong input zero point": ("onnx-int8", constant("pixels_zero_point", lambda value: value + np.uint8(1))),
}

if __name__ == "__main__":
    name, faulty = FAULTS[sys.argv.pop(1)]
    FORMATS[name] = faulty(FORMATS[name])
    data.DEBIAN_FOLDER = Path("nowhere")  # the sample of 1,000 images is enough to see these faults
    main()
