"""Model files that are not whole, not ours or without end: one line, the right exit code, nothing of them is run."""

import json
import os
import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from fmnist_edge_runtime import modelfile


def damaged(content, position):
    changed = bytearray(content)
    changed[position] ^= 1
    return bytes(changed)


def with_external_data():
    tensor = onnx.TensorProto(name="weights", data_type=onnx.TensorProto.FLOAT, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    node = helper.make_node("Identity", ["weights"], ["logits"])
    return helper.make_model(helper.make_graph([node], "g", [], [], [tensor])).SerializeToString()


@pytest.fixture
def hostile(bundled, graph, graph_of, metadata, root, tmp_path):
    """Model files by what is wrong with them, and the words that say so."""
    entry = bundled[len(graph) :]
    other = (root / "artifacts/edge_large/edge_large.int8.onnx").read_bytes()
    contents = {
        "empty": (b"", "is empty"),
        "words": (b"just words", "not an ONNX model"),
        "of somebody else": (graph, "no fmnist_edge metadata, so it is not a model of this kit"),
        "flipped in the graph": (damaged(bundled, 5_000), "its graph is damaged"),
        "flipped in the metadata": (damaged(bundled, len(bundled) - 100), "its metadata is damaged"),
        "of tomorrow": (modelfile.seal(graph, metadata | {"schema_version": 2}), "schema_version is 2"),
        "with external data": (modelfile.seal(with_external_data(), metadata), "keeps weights in another file"),
        "with another's metadata": (graph_of(other) + entry, "its graph is damaged, or another model's"),
        "truncated": (bundled[:-1], "not an ONNX model"),
    }
    for number, (content, _) in enumerate(contents.values()):
        (tmp_path / f"{number}.onnx").write_bytes(content)
    files = {name: (tmp_path / f"{number}.onnx", words) for number, (name, (_, words)) in enumerate(contents.items())}
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe.onnx")
        files["a pipe"] = (tmp_path / "pipe.onnx", "not a regular file")
        files["without end"] = ("/dev/zero", "not a regular file")
    return files


@pytest.mark.parametrize("call", [["predict", "PICTURE", "--model"], ["info"], ["evaluate"], ["verify"]], ids=" ".join)
def test_a_hostile_model_ends_the_call_with_one_line(run, root, hostile, call):
    picture = str(root / "examples/pictures/bag.png")
    for name, (path, words) in hostile.items():
        done = run(*[part.replace("PICTURE", picture) for part in call], path)
        said, code = (done.stdout, 1) if call == ["verify"] else (done.stderr, 2)
        assert done.returncode == code, name
        (line,) = [line for line in said.decode().splitlines() if line != f"{path}:" and not line.startswith("ok ")]
        assert words in line, name
        assert (done.stdout if call != ["verify"] else done.stderr) == b"", name


def test_what_is_whole_and_cannot_be_run_has_a_good_digest(run, metadata, failing_but_for, tmp_path):
    (tmp_path / "later.onnx").write_bytes(modelfile.seal(failing_but_for(3), metadata))  # its self-test has four
    done = run("verify", tmp_path / "later.onnx")
    assert done.returncode == 1
    _, digest, self_test = done.stdout.decode().splitlines()
    assert digest.split()[:3] == ["ok", "later.onnx", "digest"]
    assert self_test.split()[:3] == ["FAILED", "later.onnx", "self-test"]
    assert "cannot run it" in self_test


@pytest.mark.parametrize("count", [1, 100], ids=["a picture", "a folder for several processes"])
def test_so_does_one_that_fails_later(run, root, metadata, failing_but_for, tmp_path, count):
    path, pictures = tmp_path / "later.onnx", tmp_path / "pictures"
    path.write_bytes(modelfile.seal(failing_but_for(4), metadata))  # as many as its self-test has
    pictures.mkdir()
    for number in range(count):
        (pictures / f"{number}.png").write_bytes((root / "examples/pictures/bag.png").read_bytes())
    done = run("predict", "--model", path, pictures, "--quiet")
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"fmnist-edge: {path}: onnxruntime ")


@pytest.mark.parametrize("count", [1, 100], ids=["a picture", "a folder for several processes"])
@pytest.mark.parametrize("factors", [[1] * 3 + [np.nan] + [1] * 6, [-1] * 10, [1000] * 10], ids=["NaN", "< 0", "> 1"])
def test_what_is_no_probability_is_no_answer(run, sample, graph, metadata, tmp_path, factors, count):
    model = onnx.load_model_from_string(graph)
    (last,) = [node for node in model.graph.node if "probabilities" in node.output]
    last.output[0] = "before"
    model.graph.initializer.append(numpy_helper.from_array(np.array(factors, np.float32), "factors"))
    model.graph.node.append(helper.make_node("Mul", ["before", "factors"], ["probabilities"]))
    path, pictures = tmp_path / "nonsense.onnx", tmp_path / "pictures"
    path.write_bytes(modelfile.seal(model.SerializeToString(deterministic=True), metadata))
    pictures.mkdir()
    for number in range(count):
        Image.fromarray(sample.images[number]).save(pictures / f"{number}.png")
    done = run("predict", "--model", path, pictures, "--jsonl")
    assert (done.returncode, done.stdout) == (2, b"")
    warning, line = done.stderr.decode().splitlines()
    assert "on this CPU its self-test fails" in warning
    assert line == f"fmnist-edge: {path}: answers with what are no probabilities; export it again"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes have no path there")
@pytest.mark.parametrize("name", ["edge.onnx", "edge.torchscript.pt", "manifest.json"])
def test_a_pipe_in_a_models_folder_keeps_nobody_waiting(run, artifacts, name):
    (artifacts / "edge" / name).unlink()
    os.mkfifo(artifacts / "edge" / name)
    assert run("verify", artifacts / "edge").returncode == 1
    if name.endswith((".onnx", ".pt")):
        assert run("verify", artifacts / "edge" / name).returncode == 1
        done = run("benchmark", artifacts / "edge")
        assert done.returncode == 2
        assert done.stderr.decode().endswith("give an ONNX file made by fmnist-edge export\n")


@pytest.mark.parametrize("change", [[], {"files": []}, {"files": {"a": 3}}, {"files": {"../x": {}}}, {"formats": 3}])
def test_a_manifest_that_cannot_be_is_a_failed_check(run, artifacts, change):
    path = artifacts / "edge" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change} if change else change))
    done = run("verify", artifacts / "edge")
    assert done.returncode == 1
    assert done.stderr == b""
    assert "not a manifest" in done.stdout.decode()


def test_a_self_test_that_fails_here_is_reported_by_every_command_that_runs_the_model(
    run, root, graph, metadata, tmp_path
):
    metadata["self_test"]["file_logits"][0][0] += 1
    path = tmp_path / "elsewhere.onnx"
    path.write_bytes(modelfile.seal(graph, metadata))
    done = run("predict", root / "examples/pictures/bag.png", "--model", path)
    assert done.returncode == 0
    assert b"Bag" in done.stdout
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"{path}: on this CPU its self-test fails")
    done = run("verify", path)
    assert done.returncode == 1
    assert [line.split()[2] for line in done.stdout.decode().splitlines() if line.startswith("FAILED")] == ["self-test"]
    done = run("benchmark", path, "--quiet")
    assert "self-test fails here" in done.stdout.decode()
    assert "no form's self-test holds on this CPU" in done.stdout.decode()


def test_a_model_of_other_labels_is_not_measured_on_fashion_mnist(run, graph, metadata, tmp_path):
    (tmp_path / "other.onnx").write_bytes(modelfile.seal(graph, metadata | {"labels": metadata["labels"][::-1]}))
    done = run("evaluate", tmp_path / "other.onnx")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().endswith("are not Fashion-MNIST's; it cannot be measured on it\n")


def test_a_warning_about_the_model_comes_once_for_a_whole_folder(run, root, graph, metadata, tmp_path):
    metadata["self_test"]["file_logits"][0][0] += 1
    (tmp_path / "it.onnx").write_bytes(modelfile.seal(graph, metadata))
    done = run("predict", *[root / "examples/pictures/bag.png"] * 100, "--model", tmp_path / "it.onnx")
    assert (done.returncode, done.stdout.count(b": Bag")) == (0, 100)
    (line,) = done.stderr.decode().splitlines()
    assert "on this CPU its self-test fails" in line


@pytest.mark.parametrize("order", [1, -1])
def test_a_path_that_is_not_there_decides_the_exit_code_wherever_it_stands(run, bundled, tmp_path, order):
    (tmp_path / "bad.onnx").write_bytes(damaged(bundled, 5000))
    done = run("verify", "--quiet", *[tmp_path / "missing", tmp_path / "bad.onnx"][::order])
    assert done.returncode == 2
    assert "FAILED" in done.stdout.decode()
