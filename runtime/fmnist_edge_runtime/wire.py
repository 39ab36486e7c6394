"""Just enough of protobuf's wire format to look inside an ONNX file before anything runs it.

Encoding: https://protobuf.dev/programming-guides/encoding. Field numbers: onnx/onnx.proto.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MOST_FIELDS = 200_000  # the files of this kit have up to 2,000; so many take half a second on a slow machine


class WireError(ValueError):
    """The bytes are not a protobuf message."""


class Field(NamedTuple):
    """One field: its number, its wire type, where it starts, and where its value starts and ends."""

    number: int
    kind: int
    start: int
    value_start: int
    value_end: int


def fields(
    message: memoryview, start: int = 0, end: int | None = None, counter: Iterator[int] | None = None
) -> Iterator[Field]:
    """Yield the fields of ``message[start:end]`` in order; offsets are into ``message``.

    Walks that share a ``counter`` are given ``MOST_FIELDS`` together.

    Raises:
        WireError: the bytes are not a protobuf message, or hold more fields than any real model.
    """
    end = len(message) if end is None else end
    counter = itertools.count() if counter is None else counter
    position = start
    while position < end:
        if next(counter) >= MOST_FIELDS:
            raise WireError(f"more than {MOST_FIELDS:,} fields")
        field_start = position
        tag, position = varint(message, position, end)
        if tag >> 32:  # protobuf itself drops what exceeds 32 bits, and would see another field
            raise WireError("a tag of more than 32 bits")
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value_start, (_, position) = position, varint(message, position, end)
        elif kind == BYTES:
            length, value_start = varint(message, position, end)
            position = value_start + length
        elif kind in (FIXED32, FIXED64):
            value_start, position = position, position + (4 if kind == FIXED32 else 8)
        else:
            raise WireError(f"wire type {kind}")
        if number == 0 or position > end:
            raise WireError("a field reaches past its message")
        yield Field(number, kind, field_start, value_start, position)


def varint(message: memoryview, position: int, end: int) -> tuple[int, int]:
    """Return the variable-length integer at ``position`` and the position after it."""
    value = shift = 0
    while position < end and shift < 70:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise WireError("an integer without an end")


def encode_bytes(number: int, content: bytes) -> bytes:
    """Return a length-delimited field."""
    return _encode_varint(number << 3 | BYTES) + _encode_varint(len(content)) + content


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


# The messages inside an ONNX model that lead to a tensor: for each, the field number and the message it holds.
_ROADS = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DEEPEST = 32


def has_external_data(model: memoryview) -> bool:
    """Whether any tensor of an ONNX model points to another file.

    Raises:
        WireError: the bytes are not a protobuf message, graphs are nested deeper than any real model's, or there are
            more fields.
    """
    return _leads_outside(model, "Model", 0, len(model), 0, itertools.count())


def _leads_outside(model: memoryview, kind: str, start: int, end: int, depth: int, counter: Iterator[int]) -> bool:
    if depth > _DEEPEST:
        raise WireError("graphs nested too deeply")
    for field in fields(model, start, end, counter):
        if kind == "Tensor":
            location = field.number == _DATA_LOCATION and field.kind == VARINT
            if field.number == _EXTERNAL_DATA or (location and varint(model, field.value_start, field.value_end)[0]):
                return True
        elif field.kind == BYTES and field.number in _ROADS[kind]:
            inner = _ROADS[kind][field.number]
            if _leads_outside(model, inner, field.value_start, field.value_end, depth + 1, counter):
                return True
    return False
