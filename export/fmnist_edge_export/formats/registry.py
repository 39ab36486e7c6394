"""The forms that a model can be exported to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto

from fmnist_edge_export.formats import torchscript, torchscript_file
from fmnist_edge_export.formats.onnx_contract import onnx_contract
from fmnist_edge_export.formats.quantise import quantise
from fmnist_edge_export.proof import structure
from fmnist_edge_export.proof.bounds import FLOAT, INT8, Bounds
from fmnist_edge_export.source import Source
from fmnist_edge_runtime import modelfile
from fmnist_edge_runtime.contract import Contract
from fmnist_edge_runtime.errors import ModelError
from fmnist_edge_runtime.session import Images, Scorer, Session


@dataclass(frozen=True)
class Format:
    """One exported form.

    ``build`` gives the file without its contract, ``seal`` adds it, ``open`` reads the contract and returns what runs
    the file as it is served, ``problems`` lists what is wrong with its structure.
    """

    name: str
    suffix: str
    bounds: Bounds
    build: Callable[[Source], bytes]
    seal: Callable[[bytes, dict[str, Any]], bytes]
    open: Callable[[bytes], tuple[Contract, Scorer]]
    problems: Callable[[bytes, Source], list[str]]

    def file_name(self, model: str) -> str:
        """Return the name of a model's file in this form."""
        return model + self.suffix


def _build_onnx(source: Source) -> bytes:
    return _with_contract(source.core, source)


def _build_onnx_int8(source: Source) -> bytes:
    if source.record.ranges is None:
        name = source.record.name
        raise ModelError(f"{name}: int8 needs example images to calibrate on; give examples, or leave int8 out")
    return _with_contract(quantise(source.core, source.record.ranges), source)


def _with_contract(core: ModelProto, source: Source) -> bytes:
    record = source.record
    model = onnx_contract(core, record.height, record.width, record.temperature)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _build_torchscript(source: Source) -> bytes:
    record = source.record
    return torchscript.trace(torchscript.Contracted(source.scores, record.temperature), record.height, record.width)


def _open_onnx(content: bytes) -> tuple[Contract, Scorer]:
    file = modelfile.read(content)
    session = Session(file, threads=1)

    def run(images: Images) -> tuple[np.ndarray, np.ndarray]:
        logits, probabilities = session.run(images)
        return logits, session.probabilities(images) if len(images) == 1 else probabilities  # as they are served

    return file.contract, run


def _open_torchscript(content: bytes) -> tuple[Contract, Scorer]:
    return torchscript_file.read_contract(content, "the TorchScript file"), torchscript.load(content)


def _int8_problems(content: bytes, source: Source) -> list[str]:
    return [
        *structure.onnx_problems(content),
        *structure.quantisation_problems(content, source.record.ranges or {}),
        *structure.weight_problems(content, source.core),
    ]


ONNX = Format(
    name="onnx",
    suffix=".onnx",
    bounds=FLOAT,
    build=_build_onnx,
    seal=modelfile.seal,
    open=_open_onnx,
    problems=lambda content, source: structure.onnx_problems(content),
)
ONNX_INT8 = Format(
    name="onnx-int8",
    suffix=".int8.onnx",
    bounds=INT8,
    build=_build_onnx_int8,
    seal=modelfile.seal,
    open=_open_onnx,
    problems=_int8_problems,
)
TORCHSCRIPT = Format(
    name="torchscript",
    suffix=".torchscript.pt",
    bounds=FLOAT,
    build=_build_torchscript,
    seal=torchscript_file.seal,
    open=_open_torchscript,
    problems=lambda content, source: torchscript_file.problems(content),
)
FORMATS = {form.name: form for form in (ONNX, ONNX_INT8, TORCHSCRIPT)}
