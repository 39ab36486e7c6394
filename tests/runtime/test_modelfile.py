"""A file is opened only if every byte is the one that was sealed; nothing is run before that is known."""

import os
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from fmnist_edge_runtime import contract, modelfile, selftest, session
from fmnist_edge_runtime.bundled import bundled_model
from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.digest import sha256
from fmnist_edge_runtime.errors import ModelError
from fmnist_edge_runtime.modelfile import read, seal
from fmnist_edge_runtime.wire import encode_bytes


@pytest.fixture(autouse=True)
def no_session_for_refused_files(monkeypatch, request):
    if "allows_sessions" not in request.keywords:
        monkeypatch.setattr(session, "_load", lambda *_: pytest.fail("a session was created"))


def refused(content, words):
    with pytest.raises(ModelError, match=words) as caught:
        Classifier(content)
    assert "\n" not in str(caught.value)


def test_what_is_sealed_opens(graph, metadata):
    opened = read(seal(graph, metadata))
    assert opened.contract.labels[9] == "Ankle boot"
    assert opened.contract.raw["provenance"]["licence"] == "MIT"


def test_a_file_without_our_entry_is_not_one_of_ours(graph):
    refused(graph, "no fmnist_edge metadata, so it is not a model of this kit")


@pytest.mark.parametrize("version", [2, True, 1.0, "1", None])
def test_an_unknown_schema_version_is_refused(graph, metadata, version):
    refused(seal(graph, metadata | {"schema_version": version}), f"schema_version is {version!r}, this runtime knows 1")


@pytest.mark.parametrize("name", ["schema_version", "temperature"])
def test_of_a_long_value_the_beginning_is_shown(graph, metadata, name):
    with pytest.raises(ModelError) as caught:
        read(seal(graph, metadata | {name: "x" * 100_000}))
    assert len(str(caught.value)) < 300


def test_another_models_metadata_is_refused(graph, bundled):
    entry = bundled[len(graph) :]
    other = onnx.load_model_from_string(graph)
    other.producer_name = "someone else"
    refused(other.SerializeToString(deterministic=True) + entry, "its graph is damaged, or another model's")


def test_anything_behind_the_metadata_is_refused(bundled):
    refused(bundled + b"\x08\x0a", "not the last thing in the file")
    refused(bundled + b"junk", "refused|not an ONNX model")


def test_two_entries_are_refused(graph, metadata):
    refused(seal(seal(graph, metadata), metadata), "2 entries of fmnist_edge metadata")


@pytest.mark.parametrize("content", [b"just words", b"\x0a\xff\xff\xff\xff\x0f", bytes(100), b"\xff" * 100])
def test_what_is_no_model_is_refused(content):
    refused(content, "not an ONNX model|not a model of this kit")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"missing\.onnx: cannot be read"):
        Classifier(tmp_path / "missing.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        Classifier("zero\0byte.onnx")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices have no path there")
def test_what_may_never_end_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link", "/dev/zero", "/dev/null"):
        refused(path, r"cannot be read \(it is not a regular file\)")


def test_a_folder_is_called_one(tmp_path):
    refused(tmp_path, r"cannot be read \(it is a folder\)")


def test_an_empty_file_is_no_model(tmp_path):
    (tmp_path / "empty.onnx").write_bytes(b"")
    refused(tmp_path / "empty.onnx", "is empty")
    refused(b"", "the model given as bytes: is empty")


def test_a_file_is_read_no_further_than_its_limit(tmp_path, monkeypatch, bundled):
    (tmp_path / "large.onnx").write_bytes(bundled)
    monkeypatch.setattr(modelfile, "MOST_BYTES", 1000)
    with pytest.raises(ModelError, match="larger than"):
        Classifier(tmp_path / "large.onnx")


@pytest.mark.allows_sessions
@pytest.mark.parametrize("step", [-1, 1])
def test_a_model_for_another_picture_reader_is_loaded_with_a_warning(graph, metadata, caplog, step):
    metadata["input"]["picture_reader"] += step
    version = metadata["input"]["picture_reader"]
    with Classifier(seal(graph, metadata)):
        assert f"made for version {version} of the picture reader, this is version" in caplog.text


def test_no_more_memory_is_asked_for_than_a_file_takes(monkeypatch):
    monkeypatch.setattr(modelfile, "MOST_BYTES", 2**62)  # more than there is
    path = bundled_model()
    assert modelfile.bounded_bytes(path) == path.read_bytes()


def external():
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "weights")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    return tensor


def attribute_of(model):
    return model.graph.node.add().attribute.add()


PLACES = {
    "the graph": lambda model: model.graph.initializer.add(),
    "sparse values": lambda model: model.graph.sparse_initializer.add().values,
    "sparse indices": lambda model: model.graph.sparse_initializer.add().indices,
    "an attribute": lambda model: attribute_of(model).t,
    "one of an attribute's": lambda model: attribute_of(model).tensors.add(),
    "a branch": lambda model: attribute_of(model).g.initializer.add(),
    "one of several branches": lambda model: attribute_of(model).graphs.add().initializer.add(),
    "a sparse attribute": lambda model: attribute_of(model).sparse_tensor.values,
    "one of an attribute's sparse": lambda model: attribute_of(model).sparse_tensors.add().values,
    "a function": lambda model: model.functions.add().node.add().attribute.add().t,
    "a function's attribute": lambda model: model.functions.add().attribute_proto.add().t,
    "a training step": lambda model: model.training_info.add().algorithm.initializer.add(),
    "its initialization": lambda model: model.training_info.add().initialization.initializer.add(),
}


@pytest.mark.parametrize("given", ["bytes", "a path"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_weights_in_another_file_are_refused_wherever_they_hide(metadata, place, given, tmp_path):
    model = onnx.ModelProto()
    place(model).CopyFrom(external())
    content = seal(model.SerializeToString(), metadata)
    (tmp_path / "it.onnx").write_bytes(content)
    refused(content if given == "bytes" else tmp_path / "it.onnx", "keeps weights in another file")


def test_a_flipped_bit_anywhere_is_refused(bundled, tmp_path):
    positions = np.random.default_rng(0).integers(0, len(bundled) * 8, 1_000).tolist()
    entry = bundled.rindex(b"fmnist_edge", 0, bundled.index(b'{"architecture"'))
    positions += [8 * (entry - 6 + byte) + bit for byte in range(24) for bit in range(8)]  # tags, lengths and the key
    for position in positions:
        damaged = bytearray(bundled)
        damaged[position // 8] ^= 1 << position % 8
        (tmp_path / "it.onnx").write_bytes(damaged)
        refused(tmp_path / "it.onnx", "refused|not an ONNX model|not a model of this kit")


@pytest.mark.parametrize("end", [10, 1000, 100_000, -1])
def test_a_truncated_file_is_refused(bundled, end):
    refused(bundled[:end], "refused|not an ONNX model|not a model of this kit")


def changed(metadata, path, value):
    *folders, last = path
    place = metadata
    for folder in folders:
        place = place[folder]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return metadata


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["labels"], ...),
        (["labels"], [*"abcdefghi", "\ud800"]),
        (["input", "height"], 0),
        (["input", "width"], 28.5),
        (["input", "height"], True),
        (["input", "picture_reader"], "2"),
        (["input"], None),
        (["temperature"], 0),
        (["temperature"], "1"),
        (["temperature"], 10**400),
        (["unknown", "threshold"], 10**400),
        (["self_test", "file_logits"], [[10**400] * 10] * 4),
        (["unknown", "score"], "guess"),
        (["unknown", "threshold"], None),
        (["unknown", "threshold"], -0.1),
        (["unknown", "threshold"], 1.1),
        (["input", "std"], 0),
        (["self_test", "images"], "not base64"),
        (["self_test", "images"], ""),
        (["self_test", "file_logits"], [[1.0]]),
        (["self_test", "reference_tolerance"], True),
        (["self_test", "reference_tolerance"], -1e-4),
        (["self_test", "file_tolerance"], -1e-4),
        (["self_test"], ...),
        (["weights_sha256"], ...),
        (["weights_sha256"], 0),
        (["name"], None),
        (["architecture"], ...),
        (["input", "polarity"], ...),
        (["provenance"], ["a"]),
        (["provenance", "test_accuracy"], "high"),
        (["provenance", "test_accuracy"], 94),
        (["versions"], ...),
    ],
)
def test_metadata_that_cannot_be_is_refused(graph, metadata, path, value):
    refused(seal(graph, changed(metadata, path, value)), "its metadata is incomplete")


def test_in_the_self_tests_pictures_nothing_is_passed_over(graph, metadata):
    pictures = metadata["self_test"]["images"]
    metadata["self_test"]["images"] = f"{pictures[:8]}!\n{pictures[8:]}"
    refused(seal(graph, metadata), "its metadata is incomplete")


def test_a_self_test_of_more_than_four_pictures_is_refused(graph, metadata):
    test, five = metadata["self_test"], bytes(5 * 28 * 28)
    metadata["self_test"] = test | contract.self_test_json(five, reference_logits=[[0.0] * 10] * 5)
    refused(seal(graph, metadata), "its metadata is incomplete: bad self_test images")


@pytest.mark.parametrize(
    "labels", [[], "abcdefghij", dict.fromkeys("abcdefghij", 1), 10 * ["a"], list(range(10)), [*"abcdefghi", ""]]
)
def test_labels_are_a_list_of_different_words(graph, metadata, labels):
    refused(seal(graph, metadata | {"labels": labels}), "its metadata is incomplete: bad labels")


def entry_of(metadata, digest="0" * 64):
    return contract.encode(metadata, digest)


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.replace(b'":', b'": ', 1),
        lambda entry: entry.replace(b"1.0", b"NaN", 1),
        lambda entry: b"[" + entry + b"]",
        lambda entry: b"[" * 100_000,
        lambda entry: b"\xff" + entry,
        lambda entry: entry + b" " * contract._MOST_BYTES,
    ],
)
def test_metadata_in_any_other_form_is_refused(metadata, change):
    entry = entry_of(metadata)
    assert contract.decode(entry, "0" * 64).labels
    with pytest.raises(contract.ContractError):
        contract.decode(change(entry), "0" * 64)


@pytest.mark.allows_sessions
def test_a_self_test_that_fails_on_this_cpu_is_reported(graph, metadata, caplog):
    with Classifier(seal(graph, metadata)) as classifier:
        assert classifier.self_test().ok
    assert caplog.text == ""
    metadata["self_test"]["file_logits"][0][0] += 1
    with Classifier(seal(graph, metadata)) as classifier:
        result = classifier.self_test()
    assert not result.ok
    assert result.from_file == pytest.approx(1, abs=0.1)
    assert "on this CPU its self-test fails: logits differ by 1 from where it was made" in caplog.text
    assert caplog.text.endswith("answers may be worse than stated, the fp32 form is safe\n")


@pytest.mark.allows_sessions
def test_so_is_one_that_differs_from_the_network_alone_and_fp32_is_not_sent_to_itself(graph, metadata, caplog):
    test = metadata["self_test"]
    test["reference_logits"] = [list(logits) for logits in test["file_logits"]]
    test["reference_logits"][0][0] += 1
    with Classifier(seal(graph, metadata | {"format": "onnx"})):
        pass
    assert "by 1 from the network that it was made of" in caplog.text
    assert caplog.text.endswith("answers may be worse than stated\n")


@pytest.mark.allows_sessions
def test_so_is_one_whose_probabilities_are_not_those_of_its_logits(graph, metadata, caplog):
    metadata["temperature"] *= 1.1
    with Classifier(seal(graph, metadata)) as classifier:
        result = classifier.self_test()
    assert not result.ok
    assert result.from_softmax > 1e-3
    assert f"probabilities by {result.from_softmax:.2g} from the softmax of the logits (at most 1e-05)" in caplog.text


@pytest.mark.allows_sessions
@pytest.mark.parametrize("temperature", [5e-324, 1e-310, 1e-2])
def test_a_temperature_near_nought_is_no_warning_of_numpy(graph, metadata, temperature):
    sealed = seal(graph, metadata | {"temperature": temperature})
    with np.errstate(all="raise"), Classifier(sealed) as classifier:
        assert not classifier.self_test().ok


@pytest.mark.allows_sessions
def test_nor_are_recorded_logits_beyond_float32(graph, metadata):
    metadata["self_test"]["file_logits"][0][0] = 1e300
    with np.errstate(all="raise"), Classifier(seal(graph, metadata)) as classifier:
        assert not classifier.self_test().ok


@pytest.mark.allows_sessions
def test_a_graph_that_loads_and_then_fails_is_refused_with_one_line(metadata, failing_but_for):
    refused(seal(failing_but_for(7), metadata), "cannot run it")


@pytest.mark.allows_sessions
@pytest.mark.parametrize(
    "ask",
    [
        lambda classifier, images: classifier.probabilities(images),
        lambda classifier, images: classifier.scores(images),
        lambda classifier, images: classifier.predict(images[0]),
        lambda classifier, images: list(classifier.predict_many(images)),
        lambda classifier, _: classifier.probabilities(np.zeros((600, 28, 28), np.uint8)),
    ],
)
@pytest.mark.parametrize("answers_anyhow", [False, True], ids=["fails", "answers in another shape"])
def test_a_graph_that_fails_at_other_batches_than_its_self_test_is_a_model_error(
    metadata, failing_but_for, ask, answers_anyhow
):
    with Classifier(seal(failing_but_for(4, answers_anyhow=answers_anyhow), metadata)) as classifier:
        assert classifier.probabilities(np.zeros((4, 28, 28), np.uint8)).shape == (4, 10)
        with pytest.raises(ModelError, match="cannot run it") as caught:
            ask(classifier, np.zeros((1, 28, 28), np.uint8))
    assert "\n" not in str(caught.value)


def test_nan_fails_a_self_test(graph, metadata):
    nothing = np.full((4, 10), np.nan, np.float32)
    assert not selftest.replay(read(seal(graph, metadata)).contract, lambda _: (nothing, nothing)).ok


@pytest.mark.allows_sessions
def test_inputs_and_outputs_must_be_those_of_the_metadata(graph, metadata):
    metadata["labels"] = metadata["labels"][:9]
    for rows in ("file_logits", "reference_logits"):
        metadata["self_test"][rows] = [row[:9] for row in metadata["self_test"][rows]]
    with pytest.raises(ModelError, match="its inputs and outputs are not those of the contract"):
        Classifier(seal(graph, metadata))


@pytest.mark.allows_sessions
@pytest.mark.parametrize("which", [0, 1, 2], ids=["images", "logits", "probabilities"])
def test_how_many_pictures_it_takes_must_be_left_open(graph, metadata, which):
    model = onnx.load_model_from_string(graph)
    declared = [*model.graph.input, *model.graph.output][which]
    declared.type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(ModelError, match="its inputs and outputs are not those of the contract"):
        Classifier(seal(model.SerializeToString(), metadata))


@pytest.mark.parametrize(
    "others",
    [encode_bytes(3, b"hidden"), encode_bytes(2, b"never sealed"), encode_bytes(1, b"another key")],
    ids=["another field", "a second value", "a second key"],
)
def test_an_entry_is_a_key_and_a_value_and_nothing_else(graph, metadata, others):
    entry = contract.encode(metadata, sha256(graph).hexdigest())
    pair = encode_bytes(1, contract.KEY.encode()) + encode_bytes(2, entry)
    assert read(graph + encode_bytes(14, pair)).contract.name == "edge"
    refused(graph + encode_bytes(14, others + pair), "a metadata entry with other fields")


def test_metadata_of_more_than_4_mib_are_not_parsed(metadata):
    entry = contract.encode(metadata | {"notes": "x" * 4 * 2**20}, "0" * 64)
    with pytest.raises(contract.ContractError, match="bytes long"):
        contract.decode(entry, "0" * 64)


@pytest.mark.parametrize("side", [0, 4097, 2**31, True, 28.5])
def test_a_side_has_1_to_4096_pixels(graph, metadata, side):
    metadata["input"]["height"] = side
    refused(seal(graph, metadata), "bad input size")


def test_pictures_larger_than_a_self_test_has_room_for_are_refused(graph, metadata):
    metadata["input"] = metadata["input"] | {"height": 1000, "width": 1000}
    refused(seal(graph, metadata), "bad input size")
