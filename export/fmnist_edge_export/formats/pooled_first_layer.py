"""A first convolution and the pooling after it as one convolution with stride 2: the same numbers, sooner.

The largest of four neighbours that a 3x3 kernel gives is the largest of what four 4x4 kernels give at every second
place: the 3x3 kernel in each corner, zeros elsewhere. With one channel to read, onnxruntime's integer convolution
spends its time on gathering the pixels of each place, and of those a quarter is left.
"""

import copy

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def pool_in_first_layer(core: ModelProto) -> tuple[ModelProto, dict[str, str]]:
    """Return ``core`` so rewritten, and for each new value in it the value whose range it has.

    Only where it begins with a 3x3 convolution of one channel, ReLU and 2x2 pooling; else it is returned as it is.
    """
    graph = core.graph
    height, width = (dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim[2:])
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    if height % 2 or width % 2 or not _begins_so(graph, weights):
        return core, {}
    conv, relu, pool = graph.node[:3]
    kernel, bias = weights[conv.input[1]], weights[conv.input[2]]
    corners = np.zeros((4, len(kernel), 1, 4, 4), np.float32)
    for corner, (down, across) in zip(corners, _CORNERS, strict=True):
        corner[:, :, down : down + 3, across : across + 3] = kernel
    new = {
        f"{conv.name}_corners": corners.reshape(-1, 1, 4, 4),
        f"{conv.name}_biases": np.tile(bias, 4),
        f"{pool.name}_shape_apart": np.array([0, height // 2 * width // 2, 4, len(kernel)]),
        f"{pool.name}_shape_together": np.array([0, height // 2, width // 2, len(kernel)]),
    }
    rewritten = copy.deepcopy(core)
    nodes = _nodes(conv, relu, pool, list(new))
    kept = [tensor for tensor in graph.initializer if tensor.name not in conv.input]
    del rewritten.graph.node[:], rewritten.graph.initializer[:], rewritten.graph.value_info[:]
    rewritten.graph.node.extend([*nodes, *graph.node[3:]])
    rewritten.graph.initializer.extend([*kept, *(numpy_helper.from_array(value, name) for name, value in new.items())])
    return rewritten, {node.output[0]: relu.output[0] for node in nodes[2:-1]}


def _begins_so(graph: GraphProto, weights: dict[str, np.ndarray]) -> bool:
    first = list(graph.node[:3])
    if [node.op_type for node in first] != ["Conv", "Relu", "MaxPool"]:
        return False
    conv, relu, pool = first
    read = [name for node in graph.node for name in node.input]
    once = [*conv.input[1:], conv.output[0], relu.output[0]]  # nobody else needs what will be gone
    return (
        (relu.input[0], pool.input[0]) == (conv.output[0], relu.output[0])
        and [read.count(name) for name in once] == [1, 1, 1, 1]
        and all(name in weights for name in conv.input[1:])
        and weights[conv.input[1]].shape[1:] == (1, 3, 3)
        and _window(conv) == ([1, 1], [1, 1, 1, 1], [1, 1])
        and _window(pool) == ([2, 2], [0, 0, 0, 0], [1, 1])
        and list(_attributes(pool)["kernel_shape"]) == [2, 2]
    )


def _window(node: NodeProto) -> tuple[list[int], list[int], list[int]]:
    """Return strides, pads and dilations."""
    given = _attributes(node)
    return (
        list(given.get("strides", [1, 1])),
        list(given.get("pads", [0, 0, 0, 0])),
        list(given.get("dilations", [1, 1])),
    )


def _attributes(node: NodeProto) -> dict[str, list[int]]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _nodes(conv: NodeProto, relu: NodeProto, pool: NodeProto, names: list[str]) -> list[NodeProto]:
    """Return the nodes from the pixels to what ``pool`` gave.

    The four corners' values lie beside each other where channels come last, which is how onnxruntime keeps them: there
    the transpositions cost nothing.
    """
    corners, biases, apart, together = names
    make, value = helper.make_node, pool.output[0]
    steps = [f"{value}_{step}" for step in ("last", "apart", "first", "largest", "largest_last", "together")]
    last, separate, first, largest, largest_last, whole = steps
    read = [conv.input[0], corners, biases]
    return [
        make("Conv", read, conv.output, conv.name, kernel_shape=[4, 4], strides=[2, 2], pads=[1, 1, 1, 1]),
        make("Relu", relu.input, relu.output, relu.name),
        make("Transpose", relu.output, [last], last, perm=[0, 2, 3, 1]),
        make("Reshape", [last, apart], [separate], separate),
        make("Transpose", [separate], [first], first, perm=[0, 3, 1, 2]),
        make("MaxPool", [first], [largest], largest, kernel_shape=[1, 4], strides=[1, 4]),
        make("Transpose", [largest], [largest_last], largest_last, perm=[0, 2, 3, 1]),
        make("Reshape", [largest_last, together], [whole], whole),
        make("Transpose", [whole], [value], pool.name, perm=[0, 3, 1, 2]),
    ]
