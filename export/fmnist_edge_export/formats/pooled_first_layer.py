"""A first convolution and the pooling after it as one convolution of larger steps: the same numbers, sooner.

The largest of four neighbours that a 3x3 kernel gives is the largest of what four 4x4 kernels give at every second
place: the 3x3 kernel in each corner, zeros elsewhere. With one channel to read, onnxruntime's integer convolution
spends its time on gathering the pixels of each place. So four columns are read as four channels: a place then stands
for two pooled ones, and an eighth of the places is left.
"""

import copy

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
_COLUMNS = 4  # that are read as channels
_PLACES = _COLUMNS // 2  # pooled places that one place of the convolution stands for


def pool_in_first_layer(core: ModelProto) -> tuple[ModelProto, dict[str, str]]:
    """Return ``core`` so rewritten, and for each new value in it the value whose range it has.

    It takes ``pixels`` as ``[N, 4, H, W / 4]``. Only where ``core`` begins with a 3x3 convolution of one channel, ReLU
    and 2x2 pooling, and the columns come in fours and the rows in twos; else it is returned as it is.
    """
    graph = core.graph
    height, width = (dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim[2:])
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    if height % 2 or width % _COLUMNS or not _begins_so(graph, weights):
        return core, {}
    conv, relu, pool = graph.node[:3]
    kernel, bias = weights[conv.input[1]], weights[conv.input[2]]
    corners, biases = names_in_first_layer(core)
    new = {
        corners: _corners(kernel),
        biases: np.tile(bias, _PLACES * len(_CORNERS)),
        f"{pool.name}_shape": np.array([0, height // 2, width // 2 * len(_CORNERS), len(kernel)], np.int64),
    }
    nodes = _nodes(conv, relu, pool, list(new))
    kept = [tensor for tensor in graph.initializer if tensor.name not in conv.input]
    rewritten = copy.deepcopy(core)
    del rewritten.graph.node[:], rewritten.graph.initializer[:], rewritten.graph.value_info[:]
    rewritten.graph.node.extend([*nodes, *graph.node[3:]])
    rewritten.graph.initializer.extend([*kept, *(numpy_helper.from_array(value, name) for name, value in new.items())])
    columns, rows, groups = rewritten.graph.input[0].type.tensor_type.shape.dim[1:]
    columns.dim_value, rows.dim_value, groups.dim_value = _COLUMNS, height, width // _COLUMNS
    return rewritten, {node.output[0]: relu.output[0] for node in nodes[2:-1]}


def names_in_first_layer(core: ModelProto) -> tuple[str, str]:
    """Return what the weights and the biases of a first layer are called that is written anew."""
    name = core.graph.node[0].name
    return f"{name}_corners", f"{name}_biases"


def store_kernel_once(quantised: ModelProto) -> None:
    """Store the 3x3 kernel of such a core's quantised form once, instead of in every corner, in place.

    onnxruntime puts the corners together when it opens the file, which is 10 kB smaller for 32 channels.
    """
    graph = quantised.graph
    stored = next(tensor for tensor in graph.initializer if tensor.name.endswith("_corners_quantized"))
    corners = numpy_helper.to_array(stored)
    taps = _corners(np.arange(1, 10).reshape(1, 1, 3, 3)).astype(np.int32)  # [8, 4, 4, 3], 0 where the kernel is not
    kernel = np.zeros((len(corners) // len(taps), 10), np.int8)
    kernel[:, taps[0].ravel()] = corners[: len(kernel)].reshape(len(kernel), -1)
    names = [f"{stored.name}_{what}" for what in ("kernel", "taps", "shape", "laid", "in_order")]
    values: list[np.ndarray] = [kernel, taps, np.array(corners.shape, np.int64)]
    graph.initializer.remove(stored)
    graph.initializer.extend(numpy_helper.from_array(*pair) for pair in zip(values, names[:3], strict=True))
    nodes = [
        helper.make_node("Gather", names[:2], [names[3]], axis=1),
        helper.make_node("Transpose", [names[3]], [names[4]], perm=[1, 0, 2, 3, 4]),
        helper.make_node("Reshape", [names[4], names[2]], [stored.name]),
        *graph.node,
    ]
    del graph.node[:]
    graph.node.extend(nodes)


def _corners(kernel: np.ndarray) -> np.ndarray:
    """Return float32 ``[places * corners * channels, columns, 4, 3]`` for a kernel ``[channels, 1, 3, 3]``.

    The window of a place is three groups of columns wide, of which the middle one is its own.
    """
    corners = np.zeros((_PLACES, len(_CORNERS), len(kernel), 4, 3 * _COLUMNS), np.float32)
    for place in range(_PLACES):
        for corner, (down, across) in enumerate(_CORNERS):
            left = _COLUMNS + 2 * place - 1 + across
            corners[place, corner, :, down : down + 3, left : left + 3] = kernel[:, 0]
    grouped = corners.reshape(-1, 4, 3, _COLUMNS)  # output, row, group, column
    return np.ascontiguousarray(grouped.transpose(0, 3, 1, 2))


def _begins_so(graph: GraphProto, weights: dict[str, np.ndarray]) -> bool:
    first = list(graph.node[:3])
    if [node.op_type for node in first] != ["Conv", "Relu", "MaxPool"]:
        return False
    conv, relu, pool = first
    read = [name for node in graph.node for name in node.input]
    once = [*conv.input, conv.output[0], relu.output[0]]  # nobody else needs what will be gone, or of another shape
    return (
        (relu.input[0], pool.input[0], len(pool.output)) == (conv.output[0], relu.output[0], 1)
        and [read.count(name) for name in once] == [1] * 5
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
    corners, biases, shape = names
    make, read = helper.make_node, [conv.input[0], corners, biases]
    last, apart, first = f"{pool.name}_last", f"{pool.name}_apart", f"{pool.name}_first"
    return [
        make("Conv", read, conv.output, conv.name, kernel_shape=[4, 3], strides=[2, 1], pads=[1, 1, 1, 1]),
        make("Relu", relu.input, relu.output, relu.name),
        make("Transpose", relu.output, [last], last, perm=[0, 2, 3, 1]),
        make("Reshape", [last, shape], [apart], apart),
        make("Transpose", [apart], [first], first, perm=[0, 3, 1, 2]),
        make("MaxPool", [first], pool.output, pool.name, kernel_shape=[1, 4], strides=[1, 4]),
    ]
