"""Sealing an ONNX file with its contract, and opening one only if every byte is the one that was sealed.

The contract is the file's last metadata entry, so the file is the graph's bytes followed by one protobuf field.
"""

import stat
from pathlib import Path
from typing import Any, NamedTuple

from fmnist_edge_runtime import contract
from fmnist_edge_runtime.contract import Contract, ContractError
from fmnist_edge_runtime.digest import sha256
from fmnist_edge_runtime.errors import ModelError
from fmnist_edge_runtime.wire import BYTES, WireError, encode_bytes, fields, has_external_data

MOST_BYTES = 512 * 2**20
_ADVICE = "give an ONNX file made by fmnist-edge export"
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2  # ModelProto.metadata_props, StringStringEntryProto.key and .value


class ModelFile(NamedTuple):
    """A model file that was checked: all its bytes, and the contract among them."""

    source: str
    content: bytes
    contract: Contract


def seal(graph: bytes, metadata: dict[str, Any]) -> bytes:
    """Return the ONNX file ``graph`` with its contract appended."""
    entry = contract.encode(metadata, sha256(graph).hexdigest())
    pair = encode_bytes(_KEY, contract.KEY.encode()) + encode_bytes(_VALUE, entry)
    return graph + encode_bytes(_METADATA_PROPS, pair)


def read(model: Path | bytes) -> ModelFile:
    """Read and check a model file, before anything is run.

    Raises:
        ModelError: missing, not one of ours, damaged, of an unknown schema, or with external data.
    """
    source = "the model given as bytes" if isinstance(model, bytes) else str(model)
    content = model if isinstance(model, bytes) else bounded_bytes(model)
    if not content:
        raise ModelError(f"{source}: is empty; {_ADVICE}")
    try:
        return ModelFile(source, content, _open(content))
    except WireError as error:
        raise ModelError(f"{source}: not an ONNX model ({error}); {_ADVICE}") from error
    except ContractError as error:
        raise ModelError(f"{source}: refused, {error}; export it again") from error


def bounded_bytes(path: Path) -> bytes:
    """Return a model file's bytes.

    Raises:
        ModelError: it cannot be read, is larger than ``MOST_BYTES``, or is no regular file: a pipe or a device may keep
            a program waiting without end.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
            raise ModelError(f"{path}: cannot be read (it is {kind}); {_ADVICE}")
        with path.open("rb") as stream:  # Python makes room for all that is asked for
            content = stream.read(min(found.st_size, MOST_BYTES) + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise ModelError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); {_ADVICE}") from error
    if len(content) > MOST_BYTES:
        raise ModelError(f"{path}: larger than {MOST_BYTES // 2**20} MiB; {_ADVICE}")
    return content


def _open(content: bytes) -> Contract:
    view = memoryview(content)
    entries = [
        (field, value)
        for field in fields(view)
        if field.number == _METADATA_PROPS and field.kind == BYTES
        for key, value in [_pair(view, field.value_start, field.value_end)]
        if key == contract.KEY.encode()
    ]
    if not entries:
        raise ContractError("it has no fmnist_edge metadata, so it is not a model of this kit")
    if len(entries) > 1:
        raise ContractError(f"it has {len(entries)} entries of fmnist_edge metadata, and can have one")
    field, value = entries[0]
    if field.value_end != len(content):
        raise ContractError("its metadata is not the last thing in the file")
    parsed = contract.decode(value, sha256(view[: field.start]).hexdigest())
    if has_external_data(view):
        raise ContractError("it keeps weights in another file, which this kit never does")
    return parsed


def _pair(view: memoryview, start: int, end: int) -> tuple[bytes, bytes]:
    parts = dict[int, bytes]()
    for field in fields(view, start, end):
        if field.number not in (_KEY, _VALUE) or field.number in parts or field.kind != BYTES:
            raise WireError("a metadata entry with other fields")
        parts[field.number] = bytes(view[field.value_start : field.value_end])
    return parts.get(_KEY, b""), parts.get(_VALUE, b"")
