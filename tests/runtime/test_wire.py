import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_edge_runtime.wire import MOST_FIELDS, WireError, encode_bytes, fields, has_external_data


@given(st.lists(st.tuples(st.integers(1, 2**28), st.binary(max_size=300))))
def test_what_is_encoded_is_read(pairs):
    message = memoryview(b"".join(encode_bytes(number, content) for number, content in pairs))
    read = [(field.number, bytes(message[field.value_start : field.value_end])) for field in fields(message)]
    assert read == pairs


@given(st.binary(max_size=400))
def test_any_bytes_are_fields_or_a_wire_error(content):
    try:
        assert sum(field.value_end - field.start for field in fields(memoryview(content))) == len(content)
    except WireError as error:
        assert str(error)  # noqa: PT017 - both outcomes are right


@given(st.binary(max_size=400))
def test_any_bytes_have_external_data_or_not_or_are_no_model(content):
    try:
        assert has_external_data(memoryview(content)) in (True, False)
    except WireError as error:
        assert str(error)  # noqa: PT017 - both outcomes are right


def test_a_tag_that_protobuf_would_cut_to_another_one_is_refused():
    message = encode_bytes(13 + 2**29, b"key")
    with pytest.raises(WireError, match="more than 32 bits"):
        list(fields(memoryview(message)))


def test_graphs_nested_without_end_are_refused():
    message = b""
    for _ in range(200):
        message = encode_bytes(1, encode_bytes(5, encode_bytes(6, message)))  # a node's attribute that holds a graph
    with pytest.raises(WireError, match="nested too deeply"):
        has_external_data(memoryview(encode_bytes(7, message)))


@pytest.mark.parametrize("kind", ["fields of the model", "attributes of its nodes"])
def test_more_fields_than_any_real_model_has_are_refused_before_all_are_looked_at(kind):
    nodes = encode_bytes(7, encode_bytes(1, encode_bytes(5, b"") * 100) * (MOST_FIELDS // 100))
    message = memoryview(b"\x08\x00" * (MOST_FIELDS + 1) if kind == "fields of the model" else nodes)
    with pytest.raises(WireError, match="more than 200,000 fields"):
        has_external_data(message)
