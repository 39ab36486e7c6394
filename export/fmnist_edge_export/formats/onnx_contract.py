"""From a core (pixels in 0 to 1 -> logits) to a whole file (uint8 images -> logits and probabilities)."""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fmnist_edge_export.formats.onnx_core import BATCH, LOGITS, PIXELS, as_model
from fmnist_edge_runtime.session import INPUT, PROBABILITIES

Constants = dict[str, np.ndarray]


def onnx_contract(core: ModelProto, height: int, width: int, temperature: float) -> ModelProto:
    """Put the contract around a core, float or quantised.

    Where the core begins by quantising ``pixels`` (scale 1/255, zero point 0), the raw pixels are that node's result
    already and take its place. Otherwise they are cast and divided by 255. A core that takes ``[N, C, H, W / C]`` is
    given each C columns of an image as channels.
    """
    channels = core.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    first = next(node for node in core.graph.node if PIXELS in node.input)
    if first.op_type == "QuantizeLinear":
        core.graph.node.remove(first)
        head, constants = _arrange(first.output[0], channels, height, width)
    else:
        head, constants = _arrange("contract_images", channels, height, width)
        constants["contract_largest_pixel"] = np.array(255, np.float32)
        head += [
            helper.make_node("Cast", ["contract_images"], ["contract_floats"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["contract_floats", "contract_largest_pixel"], [PIXELS]),
        ]
    constants["contract_temperature"] = np.array(temperature, np.float32)
    tail = [
        helper.make_node("Div", [LOGITS, "contract_temperature"], ["contract_tempered"]),
        helper.make_node("Softmax", ["contract_tempered"], [PROBABILITIES], axis=1),
    ]
    classes = core.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    graph = helper.make_graph(
        [*head, *core.graph.node, *tail],
        "fmnist_edge",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [BATCH, height, width])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, classes]) for name in (LOGITS, PROBABILITIES)],
        [*core.graph.initializer, *(numpy_helper.from_array(value, name) for name, value in constants.items())],
    )
    return as_model(graph, core.functions)


def _arrange(name: str, channels: int, height: int, width: int) -> tuple[list[NodeProto], Constants]:
    """Return the nodes, and their constants, that make uint8 ``[N, C, H, W / C]`` of that name of the input."""
    make = helper.make_node
    if channels == 1:
        return [make("Unsqueeze", [INPUT, "contract_axis"], [name])], {"contract_axis": np.array([1], np.int64)}
    grouped = make("Reshape", [INPUT, "contract_shape"], ["contract_grouped"])
    shape = np.array([0, height, width // channels, channels], np.int64)
    return [grouped, make("Transpose", ["contract_grouped"], [name], perm=[0, 3, 1, 2])], {"contract_shape": shape}
