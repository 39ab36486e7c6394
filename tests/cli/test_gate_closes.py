"""Through the real command line: one fault between reference and proof, and the gate closes."""

import hashlib
import shutil
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("faulty.py")


def digest(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture
def export(run, artifacts, tmp_path):
    def export(fault, form, *more):
        return run(
            *(fault, "export", "edge", "--format", form, "--out", artifacts, "--quiet", *more),
            script=SCRIPT,
            environment={"XDG_CACHE_HOME": str(tmp_path), "FMNIST_EDGE_DATA": ""},
        )

    return export


@pytest.mark.parametrize(
    ("fault", "form", "rows"),
    [
        ("changed weight", "onnx", {"logits", "self-test"}),
        ("frozen batch", "onnx", {"structure"}),
        ("missing scaling", "onnx", {"logits", "decisions"}),
        ("doubled scaling", "onnx", {"logits", "decisions"}),
        ("swapped labels", "onnx", {"contract"}),
        ("forgotten temperature", "onnx", {"probabilities"}),
        ("wrong zero point", "onnx-int8", {"structure"}),
        ("missing zero point", "onnx-int8", {"structure"}),
        ("a scale of another name", "onnx-int8", {"structure"}),
        ("wrong input zero point", "onnx-int8", {"structure"}),
        ("products too large", "onnx-int8", {"structure"}),
        ("scores of a fifth", "onnx-int8", {"probabilities", "known"}),
    ],
)
def test_a_fault_closes_the_gate_and_leaves_the_target_as_it_was(export, artifacts, fault, form, rows):
    before = digest(artifacts / "edge")
    done = export(fault, form)
    failed = {line.split()[2] for line in done.stdout.decode().splitlines() if line.startswith("FAILED")}
    assert done.returncode == 1, done.stderr.decode()
    assert rows <= failed
    assert all(f"{form} {row}" in done.stderr.decode() for row in rows), "the error line names the rows"
    assert len(done.stderr.decode().splitlines()) == 1
    assert digest(artifacts / "edge") == before
    assert [path.name for path in artifacts.iterdir()] == ["edge"], "nothing is left beside the target"


@pytest.mark.parametrize("fault", ["taken back by another scale", "weights taken back by 3 % more"])
def test_a_scale_that_is_a_little_off_is_seen_by_the_structure_alone(export, fault):
    done = export(fault, "onnx-int8")
    assert done.returncode == 1
    assert "the gate is closed by onnx-int8 structure; " in done.stderr.decode()


@pytest.mark.parametrize(("control", "form"), [("none", "onnx"), ("none, int8", "onnx-int8")])
def test_the_same_run_without_the_fault_passes(export, artifacts, control, form):
    done = export(control, form)
    assert done.returncode == 0, done.stderr.decode()
    assert "FAILED" not in done.stdout.decode()
    assert [path.name for path in artifacts.iterdir()] == ["edge"]


def test_keep_failed_keeps_the_rejected_files_elsewhere(export, artifacts):
    before = digest(artifacts / "edge")
    assert export("forgotten temperature", "onnx", "--keep-failed").returncode == 1
    assert digest(artifacts / "edge") == before
    assert (artifacts / "edge.failed" / "edge.onnx").is_file()
    assert export("swapped labels", "onnx", "--keep-failed").returncode == 1, "those that it kept are replaced"
    (artifacts / "edge.failed" / "notes.txt").write_text("mine")
    assert export("swapped labels", "onnx", "--keep-failed").returncode == 2
    assert (artifacts / "edge.failed" / "notes.txt").read_text() == "mine"


def test_keep_failed_replaces_no_proven_model(export, artifacts):
    before = digest(shutil.copytree(artifacts / "edge", artifacts / "edge.failed"))
    done = export("none", "onnx", "--keep-failed")
    assert "edge.failed: holds what no export has rejected" in done.stderr.decode()
    assert digest(artifacts / "edge.failed") == before


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_keep_failed_replaces_nothing_of_somebody_else(export, artifacts, kind):
    kept = artifacts / "edge.failed"
    notes = kept if kind == "file" else kept / "notes.txt"
    notes.parent.mkdir(exist_ok=True)
    notes.write_text("mine")
    done = export("none", "onnx", "--keep-failed")
    assert done.returncode == 2
    words = "holds what no export has rejected; move it elsewhere"
    assert done.stderr.decode().splitlines()[-1] == f"fmnist-edge: {kept}: {words}"
    assert notes.read_text() == "mine"
