"""What is committed is what the project claims of it."""

import json
import shutil
from dataclasses import replace

import pytest
from torch import nn

from fmnist_edge_export import manifest
from fmnist_edge_export.api import export_model
from fmnist_edge_export.models import build
from fmnist_edge_export.origins import find_origins
from fmnist_edge_export.recipes import RECIPES, Recipe
from fmnist_edge_export.record import load_model
from fmnist_edge_export.verify import verify
from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.errors import ModelError

STUDENTS = ["edge", "edge_first", "edge_second", "edge_third", "edge_large", "edge_large_first"]
TRAINED = [*STUDENTS, "teacher_9", "teacher_11", "teacher_15"]


def record(root, name):
    return json.loads((root / "artifacts" / name / f"{name}.json").read_text())


@pytest.mark.parametrize("name", TRAINED)
def test_a_shipped_model_was_made_by_the_kits_recipe(root, name):
    said = record(root, name)["recipe"]  # what a recipe did not know of when it was recorded has its default
    assert Recipe(**said | {"teachers": tuple(said["teachers"])}) == RECIPES[name]


@pytest.mark.parametrize("name", STUDENTS)
def test_a_record_says_what_chose_among_the_candidates(root, name):
    assert RECIPES[name].chosen in record(root, name)["notes"]


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_names_the_teachers_that_are_committed(root, name):
    named = record(root, name)["teachers"]
    for teacher in RECIPES[name].teachers:
        file = root / "artifacts" / teacher / f"{teacher}.int8.onnx"
        assert Classifier(file).contract.weights_sha256 == named.pop(teacher)
    assert named.keys() == {RECIPES[name].begins_as} - {"", *RECIPES[name].teachers}


@pytest.mark.parametrize("name", [name for name in STUDENTS if RECIPES[name].begins_as])
def test_a_record_names_the_committed_weights_that_a_model_began_as(root, name):
    origin = RECIPES[name].begins_as
    weights = root / "artifacts" / origin / f"{origin}.safetensors"
    assert record(root, name)["teachers"][origin] == load_model(weights)[1].weights_sha256


def test_a_teacher_of_other_labels_teaches_nothing(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 4))
    export_model(net, labels="abcd", out=tmp_path / "stranger", formats=["onnx"])
    (tmp_path / "stranger" / "stranger.onnx").rename(tmp_path / "stranger" / "stranger.int8.onnx")
    recipe = replace(RECIPES["edge_first"], teachers=("stranger",))
    with pytest.raises(ModelError, match=r"stranger\.int8\.onnx: its labels or picture size are not Fashion-MNIST's"):
        find_origins("edge_first", recipe, tmp_path)


def test_a_model_may_begin_as_one_of_its_own_teachers(root):
    recipe = RECIPES["edge_large"]
    assert recipe.begins_as in recipe.teachers
    origins = find_origins("edge_large", recipe, root / "artifacts")
    assert len(origins.teachers) == len(recipe.teachers)
    assert origins.beginning.keys() == build("edge_large").state_dict().keys()
    assert origins.digests == record(root, "edge_large")["teachers"]


def test_a_teacher_that_is_begun_with_is_the_one_that_was_exported(root, tmp_path):
    name, artifacts = "edge_large_first", root / "artifacts"
    shutil.copytree(artifacts / name, tmp_path / name)
    shutil.copy(artifacts / "edge_large/edge_large.int8.onnx", tmp_path / name / f"{name}.int8.onnx")
    recipe = replace(RECIPES["edge_large"], teachers=(name,))
    with pytest.raises(ModelError, match=rf"{name}\.safetensors: not what {name}\.int8\.onnx beside it was exported"):
        find_origins("edge_large", recipe, tmp_path)


@pytest.mark.parametrize("name", ["edge", "edge_large"])
def test_a_shipped_folder_is_whole_and_answers_here_as_where_it_was_made(root, name):
    report = verify(root / "artifacts" / name)
    assert report.failures == ()
    assert sum(check.name == "self-test" for check in report.checks) == 3


@pytest.mark.parametrize("name", ["edge", "edge_large"])
def test_a_shipped_model_is_as_good_as_claimed(root, name):
    forms = manifest.read(root / "artifacts" / name).formats
    assert forms.keys() == {"onnx", "onnx-int8", "torchscript"}
    for name, form in forms.items():
        measured = form["measured"]
        assert all(check["ok"] for check in form["checks"])
        assert measured["images"] == 10_000
        assert measured["accuracy"]["reference"] >= 0.94
        if name != "onnx-int8":
            assert measured["dlogit_max"] <= 1e-4
            assert measured["flips"] == []
    int8 = forms["onnx-int8"]["measured"]
    assert int8["accuracy"]["reference"] - int8["accuracy"]["file"] <= 0.001
    assert len(int8["flips"]) <= 50
    assert all(flip["gap"] < 0.10 for flip in int8["flips"])


FORMS = {"ONNX int8": "onnx-int8", "ONNX fp32": "onnx", "TorchScript": "torchscript"}


def test_the_readmes_figures_are_the_manifests(root):
    name, seen = "", 0
    for line in (root / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.replace("\\|", "").strip("|").split("|")]
        if len(cells) == 7 and cells[2] in FORMS:
            name = cells[0].strip("`") or name
            if name in ("edge", "edge_large"):
                form = manifest.read(root / "artifacts" / name).formats[FORMS[cells[2]]]
                measured, size = form["measured"], (root / "artifacts" / name / form["file"]).stat().st_size
                gaps = [flip["gap"] for flip in measured["flips"]]
                assert cells[3:] == [
                    f"{size / 1e6:.1f} MB" if size > 1e6 else f"{size / 1e3:.0f} kB",
                    f"{100 * measured['accuracy']['file']:.2f} %",
                    f"{len(gaps)}, at probability gaps up to {max(gaps):.3f}" if gaps else "0",
                    f"{measured['dlogit_max']:.2g}",
                ]
                seen += 1
    assert seen == 5


@pytest.mark.parametrize(("name", "least", "most"), [("cnn", 0.60, 0.75), ("cnn_bn", 0.80, 0.95)])
def test_the_notebooks_nets_learned_what_the_notebook_says(root, name, least, most):
    said = record(root, name)
    curve = [epoch["watched_accuracy"] for epoch in said["curve"]]
    assert len(curve) == 5
    assert curve == sorted(curve)
    assert least <= curve[-1] <= most
    assert said["test_accuracy"] == curve[-1]
    assert said["recipe"]["learning_rate"] == 1e-3


@pytest.mark.parametrize("name", ["cnn", "cnn_bn", *TRAINED])
def test_weights_record_and_card_belong_together(root, name):
    _, loaded = load_model(root / "artifacts" / name / f"{name}.safetensors")
    card = (root / "artifacts" / name / "README.md").read_text()
    assert loaded.weights_sha256 in card
    assert f"{loaded.test_accuracy:.2%}" in card
    assert (root / "artifacts" / name / "curve.png").stat().st_size > 5000


@pytest.mark.parametrize("name", TRAINED)
def test_no_choice_was_made_by_the_test_images(root, name):
    said = record(root, name)
    assert said["recipe"]["validation"] >= 2000
    words = "No weights, temperature or threshold was chosen by the test images"
    assert any(note.startswith(words) for note in said["notes"])


def test_constraints_are_names_and_versions_alone(root):
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 10
    assert all(line.count("==") == 1 and "/" not in line and "@" not in line for line in lines)
