import json
import pickle
from dataclasses import replace

import pytest

from fmnist_edge_export.files import sha256_of_bytes
from fmnist_edge_export.models import build
from fmnist_edge_export.record import Record, load_model, save_model, weights_of
from fmnist_edge_runtime.errors import ModelError

EPOCH = ("number", "loss", "train_accuracy", "watched_accuracy")


@pytest.fixture
def saved(tmp_path):
    module = build("edge")
    record = Record("edge", "edge", ("a", "b"), 28, 28, sha256_of_bytes(weights_of(module)), ranges={"x": (0.0, 1.0)})
    save_model(tmp_path, module, record)
    return tmp_path / "edge.safetensors", module, record


def test_what_is_saved_loads_again(saved):
    weights, module, record = saved
    loaded, read = load_model(weights)
    assert read == record
    assert weights_of(loaded) == weights_of(module)
    assert not loaded.training


@pytest.mark.parametrize(
    "change",
    [
        {"height": "28"},
        {"width": 0},
        {"std": 0.0},
        {"mean": None},
        {"mean": float("nan")},
        {"temperature": 0},
        {"unknown_threshold": "a"},
        {"labels": [1, 2]},
        {"recipe": 3},
        {"curve": [{}]},
        {"recipe": {"epochs": 1, "validation": 0}, "curve": [dict.fromkeys(EPOCH, float("nan"))]},
        {"ranges": {"x": ["a", "b"]}},
        {"ranges": {"x": [0.0, float("inf")]}},
        {"test_accuracy": 94},
        {"test_accuracy": float("nan")},
        {"notes": 5},
        {"licence": 5},
        {"dataset": {"train": 3}},
        {"self_test": "foo"},
        {"self_test": {"reference": [[1.0, 2.0], [3.0]]}},
        {"self_test": {"reference": 3}},
        {"self_test": {"reference": [[1.0, float("nan")]]}},
        {"self_test": {"reference": [[10**400]]}},
        {"ranges": {"x": [0.0, 10**400]}},
        {"recipe": {"epochs": 1}, "curve": [dict.fromkeys(EPOCH, 1)]},
    ],
    ids=str,
)
def test_a_record_with_a_field_that_is_none_is_refused_with_one_line(saved, change):
    path = saved[0].with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    with pytest.raises(ModelError, match="not a model's record") as caught:
        load_model(saved[0])
    assert str(caught.value).isprintable()


def test_a_missing_half_is_named(saved):
    weights, _, _ = saved
    weights.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r"there is no edge\.json beside it"):
        load_model(weights)
    with pytest.raises(ModelError, match=r"other\.safetensors: no such file"):
        load_model(weights.with_name("other.safetensors"))


def test_files_of_another_name_than_the_records_are_refused(saved):
    """An export would replace the folder of the model that the record names."""
    weights, _, _ = saved
    for file in (weights, weights.with_suffix(".json")):
        file.rename(file.with_stem("other"))
    with pytest.raises(ModelError, match=r"other\.json: the record of edge, not of other; name the files after it"):
        load_model(weights.with_stem("other"))


def test_weights_that_are_not_the_records_are_refused(saved):
    weights, _, _ = saved
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match="damaged, or not the weights"):
        load_model(weights)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"null", b'{"schema_version": 2}', b"\xff"])
def test_a_record_that_is_none_is_refused(saved, content):
    weights, _, _ = saved
    weights.with_suffix(".json").write_bytes(content)
    with pytest.raises(ModelError, match="not a model's record"):
        load_model(weights)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../../home",
        "/etc/model",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "n" * 300,
        "é" * 101,
        "manifest",
        "Manifest",
        "a:b",
        7,
        None,
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(saved, name):
    weights, _, record = saved
    weights.with_suffix(".json").write_bytes(replace(record, name=name).to_json())
    with pytest.raises(ModelError, match="cannot be the name of a model's files"):
        load_model(weights)


@pytest.mark.parametrize(
    ("architecture", "words"), [(["edge"], r"architecture is \['edge'\]"), ("resnet", "no such architecture")]
)
def test_an_architecture_that_is_none_is_refused(saved, architecture, words):
    weights, _, record = saved
    weights.with_suffix(".json").write_bytes(replace(record, architecture=architecture).to_json())
    with pytest.raises(ModelError, match=words):
        load_model(weights)


def test_weights_of_another_shape_are_refused_with_the_reason(saved):
    weights, _, record = saved
    weights.with_suffix(".json").write_bytes(replace(record, architecture="edge_large").to_json())
    with pytest.raises(ModelError, match=r"not the weights of a edge_large .*(size mismatch|key)"):
        load_model(weights)


def test_a_pickle_is_never_loaded(saved, tmp_path):
    weights, _, record = saved
    bait = tmp_path / "bait"

    class Trap:
        def __reduce__(self):
            return (bait.write_text, ("sprung",))

    content = pickle.dumps(Trap())
    weights.write_bytes(content)
    values = json.loads(record.to_json()) | {"weights_sha256": sha256_of_bytes(content)}
    weights.with_suffix(".json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="not the weights of a edge"):
        load_model(weights)
    assert not bait.exists()
