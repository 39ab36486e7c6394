"""What a file is made of: every part that is not the network's own is seen without running it."""

import numpy as np
import onnx
import pytest

from fmnist_edge_export.formats import torchscript_file
from fmnist_edge_export.formats.onnx_core import as_model
from fmnist_edge_export.proof.structure import onnx_problems, quantisation_problems, weight_problems


def test_an_activation_in_int8_is_seen(root, sources):
    model = onnx.load(root / "artifacts/edge/edge.int8.onnx")
    ranges = sources["edge"].record.ranges
    node = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    value = node.input[1].removesuffix("_scale")
    assert quantisation_problems(model.SerializeToString(), ranges) == []
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((), np.int8), "signed"))
    del node.input[2:]
    node.input.append("signed")
    assert f"{value}: an activation in int8, not in uint8" in quantisation_problems(model.SerializeToString(), ranges)


def test_int8_weights_are_the_networks_own(root, sources):
    model = onnx.load(root / "artifacts/edge/edge.int8.onnx")
    core = sources["edge"].core
    assert weight_problems(model.SerializeToString(), core) == []
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    name = "blocks2.0.first.conv.weight"
    for changed, change in (("_scale", lambda value: value * 1.03), ("_quantized", lambda value: value // 4 * 3)):
        kept = onnx.numpy_helper.to_array(tensors[name + changed])
        tensors[name + changed].CopyFrom(onnx.numpy_helper.from_array(change(kept).astype(kept.dtype), name + changed))
        problem, *_ = weight_problems(model.SerializeToString(), core)
        assert problem.startswith(f"{name}_quantized: ")
        tensors[name + changed].CopyFrom(onnx.numpy_helper.from_array(kept, name + changed))


def test_so_are_its_biases(root, sources):
    model = onnx.load(root / "artifacts/edge/edge.int8.onnx")
    name = "blocks2.0.first.conv.weight_bias_quantized"
    changed(model, name, lambda value: value * 2)
    (problem,) = weight_problems(model.SerializeToString(), sources["edge"].core)
    assert problem.startswith(f"{name}: ")


def test_weights_of_another_name_are_nobodys(root, sources):
    model = onnx.load(root / "artifacts/edge/edge.int8.onnx")
    name = "blocks2.0.first.conv.weight_quantized"
    for tensor in model.graph.initializer:
        tensor.name = "x" if tensor.name == name else tensor.name
    for node in model.graph.node:
        node.input[:] = ["x" if read == name else read for read in node.input]
    problems = weight_problems(model.SerializeToString(), sources["edge"].core)
    assert problems == ["x: no constant of the network"]


def changed(model, name, change):
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    value = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(change(value).astype(value.dtype), name))


def test_so_is_what_stays_float(root, sources):
    model = onnx.load(root / "artifacts/edge/edge.int8.onnx")
    changed(model, "head.weight", lambda value: value * np.float32(1.1))
    problems = weight_problems(model.SerializeToString(), sources["edge"].core)
    assert problems == ["head.weight: not the network's"]


def test_a_bias_has_the_scale_of_what_it_is_added_to(root, sources):
    model = onnx.load(root / "artifacts/edge/edge.int8.onnx")
    name = "blocks2.0.first.conv.weight_bias_quantized"
    changed(model, name, lambda value: value // 2)
    changed(model, f"{name}_scale", lambda value: value * 2)
    problems = weight_problems(model.SerializeToString(), sources["edge"].core)
    assert problems == [f"{name}_scale: not the product of its inputs' and its weights'"]


def added(constant, scale, zero):
    """Two models of x + constant: as the core has it, and with the constant in uint8."""
    inputs = [onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, ["batch", 2])]
    add = onnx.helper.make_node("Add", ["pixels", "c"], ["logits"], name="add_0")
    core = as_model(
        onnx.helper.make_graph([add], "core", inputs, [], [onnx.numpy_helper.from_array(constant, "c")]), []
    )
    parts = {"c_quantized": np.array([0, 100], np.uint8), "c_scale": np.float32(scale), "c_zero_point": np.uint8(zero)}
    back = onnx.helper.make_node("DequantizeLinear", list(parts), ["d"])
    constants = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in parts.items()]
    graph = onnx.helper.make_graph(
        [back, onnx.helper.make_node("Add", ["pixels", "d"], ["logits"])], "file", inputs, [], constants
    )
    return as_model(graph, []).SerializeToString(), core


@pytest.mark.parametrize(("scale", "zero", "good"), [(0.02, 50, True), (0.04, 50, False), (0.02, 90, False)])
def test_a_constant_that_is_added_is_the_networks(scale, zero, good):
    content, core = added(np.array([-1.0, 1.0], np.float32), scale, zero)
    assert (weight_problems(content, core) == []) == good


def test_a_small_scale_is_held_to_as_a_large_one_is():
    weights = onnx.numpy_helper.from_array(np.zeros((1, 1), np.int8), "w_quantized")
    scales = [
        onnx.numpy_helper.from_array(np.array(scale, np.float32), name)
        for name, scale in (("a_scale", 1.9e-8), ("w_scale", 1))
    ]
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["in", "a_scale"], ["a_quantized"]),
        onnx.helper.make_node("DequantizeLinear", ["a_quantized", "a_scale"], ["a"]),
        onnx.helper.make_node("DequantizeLinear", ["w_quantized", "w_scale"], ["w"]),
        onnx.helper.make_node("MatMul", ["a", "w"], ["out"]),
    ]
    model = as_model(onnx.helper.make_graph(nodes, "small", [], [], [weights, *scales]), [])
    problems = quantisation_problems(model.SerializeToString(), {"a": (0, 2.55e-6)})
    assert "a_scale: 1.9e-08 where 1e-08 is right" in problems


def newer_ir(model):
    model.ir_version = 11


def newer_opset(model):
    model.opset_import[0].version = 21


def other_operators(model):
    model.opset_import.add(domain="com.microsoft", version=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [(newer_ir, "IR version 11"), (newer_opset, "21"), (other_operators, "com.microsoft 1, only ai.onnx up to 20")],
)
def test_what_older_runtimes_cannot_read_is_seen(root, change, words):
    model = onnx.load(root / "artifacts/edge/edge.onnx")
    assert onnx_problems(model.SerializeToString()) == []
    change(model)
    assert words in "; ".join(onnx_problems(model.SerializeToString()))


def test_source_paths_in_a_torchscript_file_are_seen():
    archive = torchscript_file.archive_of({"a/code.debug_pkl": b""})
    assert torchscript_file.problems(archive) == ["a/code.debug_pkl: holds source paths"]
