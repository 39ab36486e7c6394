"""The float network as an ONNX graph: ``pixels`` in 0 to 1 in, ``logits`` out, with nothing of this machine inside."""

from collections.abc import Iterable

import onnx
import onnxscript  # noqa: F401 - torch.onnx needs it, and imports it late
import torch
from onnx import FunctionProto, GraphProto, ModelProto, numpy_helper
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from fmnist_edge_export.extras import interrupt_behind
from fmnist_edge_export.formats.quiet import quiet
from fmnist_edge_export.formats.scores import Scores
from fmnist_edge_runtime.errors import ModelError, first_line

OPSET = 20
IR_VERSION = 10
PIXELS, LOGITS, BATCH = "pixels", "logits", "batch"
_NOUGHT = 1e-8  # what onnxscript's patterns take for 0
_ADDED_BY_QUANTISER = ("_scale", "_zero_point", "_quantized")  # to the name of what it quantises


def export_core(scores: Scores, height: int, width: int) -> ModelProto:
    """Return a network that maps float ``[N, 1, H, W]`` to logits ``[N, K]`` as ONNX, with names that do not vary.

    Raises:
        ModelError: torch.onnx cannot export it, or only with its batch size frozen.
    """
    name = type(scores.module).__name__
    try:
        with quiet():  # what matters is raised
            program = torch.onnx.export(
                scores,
                (torch.zeros(2, 1, height, width, device="cpu"),),  # a batch of 1 would be taken for a constant
                dynamo=True,
                input_names=[PIXELS],
                output_names=[LOGITS],
                dynamic_shapes=({0: torch.export.Dim(BATCH)},),
                opset_version=OPSET,
                external_data=False,
                optimize=False,
                verbose=False,
            )
            if program is not None and not _adds_next_to_nothing(program.model_proto):
                program.optimize()
    except torch.onnx.errors.OnnxExporterError as error:
        if interrupt := interrupt_behind(error):
            raise interrupt from None
        raise ModelError(f"{name}: torch.onnx cannot export it ({_reason(error)}); leave the ONNX forms out") from error
    if program is None:
        raise ModelError(f"{name}: torch.onnx gave no program")
    batch = program.model_proto.graph.input[0].type.tensor_type.shape.dim[0]
    if not batch.dim_param:  # torch.onnx does not mind
        words = f"its batch size is frozen at {batch.dim_value}, as by len(x) or a loop over the pictures"
        raise ModelError(f"{name}: {words}; let it take any number of them")
    ClearMetadataAndDocStringPass()(program.model)  # the nodes carry source paths
    return _with_plain_names(program.model_proto)


def _adds_next_to_nothing(model: ModelProto) -> bool:
    """Tell whether a graph holds a number so near to 0 that torch's optimiser leaves ``x + 1e-8`` out as ``x + 0``.

    Without it what divides by that sum divides by 0 where x is. onnxruntime optimises on its own.
    """
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    constants = [a.t for node in nodes if node.op_type == "Constant" for a in node.attribute if a.name == "value"]
    tensors = [numpy_helper.to_array(tensor) for tensor in (*constants, *model.graph.initializer)]
    return any(x.size == 1 and x.dtype.kind == "f" and 0 < abs(float(x.flat[0])) <= _NOUGHT for x in tensors)


def _reason(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return first_line(cause)


def _with_plain_names(model: ModelProto) -> ModelProto:
    """Name every value after the operator that makes it, so that names do not depend on torch's version."""
    graph = model.graph
    for node in graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):  # whose values these names would meet
            raise ModelError(f"a graph with a branch or a loop ({node.op_type}) cannot be exported to ONNX")
    parameters = {tensor.name for tensor in graph.initializer}
    renamed = {name: name for name in (graph.input[0].name, graph.output[0].name)}
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type.lower()}_{index}"
        for position, name in enumerate(node.input):
            if name in parameters and name not in renamed:
                # A parameter of a layer keeps its name, which has a dot in it, as no other has.
                kept = name.startswith("module.") and name.count(".") > 1 and not name.endswith(_ADDED_BY_QUANTISER)
                renamed[name] = name.removeprefix("module.") if kept else f"{node.name}_input_{position}"
        for position, name in enumerate(node.output):
            renamed.setdefault(name, node.name if position == 0 else f"{node.name}_{position}")
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed[name] for name in node.output]
    for tensor in graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    plain = onnx.helper.make_graph(graph.node, "fmnist_edge", graph.input, graph.output, graph.initializer)
    return as_model(plain, model.functions)


def as_model(graph: GraphProto, functions: Iterable[FunctionProto]) -> ModelProto:
    """Return a graph as a model of the kit's opset and IR version."""
    return onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fmnist-edge",
        functions=functions,
    )
