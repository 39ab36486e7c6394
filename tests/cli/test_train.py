import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_edge_export.folder import locked
from fmnist_edge_export.recipes import RECIPES

SCRIPT = Path(__file__).with_name("small_data.py")


@pytest.fixture
def train(run, tmp_path):
    def train(*arguments):
        return run("train", *arguments, "--out", tmp_path, script=SCRIPT)

    return train


def test_a_trained_model_is_weights_and_record_and_can_be_exported(train, run, tmp_path):
    done = train("cnn", "--epochs", 2, "--seed", 7)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().count("\n") == 1
    assert "of the test images right" in done.stdout.decode()
    assert sorted(path.name for path in (tmp_path / "cnn").iterdir()) == ["cnn.json", "cnn.safetensors"]
    record = json.loads((tmp_path / "cnn" / "cnn.json").read_text())
    assert (record["seed"], [epoch["number"] for epoch in record["curve"]]) == (7, [1, 2])
    assert [line.split(":")[0] for line in done.stderr.decode().splitlines()] == ["epoch 1/2", "epoch 2/2"]

    exported = run(
        *("export", "--checkpoint", tmp_path / "cnn" / "cnn.safetensors", "--out", tmp_path / "out"),
        *("--format", "onnx", "--quiet"),
        script=SCRIPT,
    )
    assert exported.returncode == 0, exported.stderr.decode()
    assert (tmp_path / "out" / "cnn" / "cnn.onnx").is_file()


def test_the_recipes_own_numbers_do_not_change_it(run):
    own = ("--epochs", RECIPES["edge"].epochs, "--seed", RECIPES["edge"].seed)
    shown = run("train", "edge", "--recipe").stdout
    assert shown.startswith(b"epochs ")
    assert run("train", "edge", "--recipe", *own).stdout == shown


@pytest.mark.parametrize("change", [("--epochs", 2), ("--seed", 90)])
def test_a_changed_recipe_tells_no_story_of_the_one_that_was_chosen(run, change):
    assert RECIPES["edge"].chosen
    lines = run("train", "edge", "--recipe", *change).stdout.decode().splitlines()
    assert [line.split() for line in lines if line.startswith("chosen")] == [["chosen", "-"]]


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
def test_two_runs_do_not_share_a_folder(train, tmp_path):
    (tmp_path / "cnn").mkdir()
    with locked(tmp_path / "cnn"):
        done = train("cnn", "--epochs", 1)
    assert done.returncode == 2
    assert done.stderr.decode().endswith("another run trains there; wait for its end, or name another --out\n")
    assert os.listdir(tmp_path / "cnn") == []


@pytest.mark.parametrize("more", [(), ("--resume",)])
def test_a_finished_model_is_not_replaced(train, tmp_path, more):
    finished = tmp_path / "cnn" / "cnn.safetensors"
    finished.parent.mkdir()
    finished.write_bytes(b"days of work")
    finished.with_suffix(".json").write_bytes(b"how it was done")
    done = train("cnn", "--epochs", 1, *more)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"fmnist-edge: {finished.parent}: holds a finished run; remove that folder, or name another --out\n"
    )
    assert finished.read_bytes() == b"days of work"


def test_a_seed_too_large_is_refused_before_anything_is_done(train, tmp_path):
    done = train("cnn", "--epochs", 1, "--seed", 2**32)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr.decode()
    assert not (tmp_path / "cnn").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_ctrl_c_keeps_the_last_complete_epoch_and_resume_goes_on(train, tmp_path):
    command = [sys.executable, str(SCRIPT), "train", "cnn", "--epochs", "15", "--out", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("epoch 2/"):
                break
        process.send_signal(signal.SIGINT)
        rest, out = process.stderr.read(), process.stdout.read()
    assert process.returncode == 130
    assert rest.splitlines()[-1].endswith("holds the last complete epoch; --resume goes on from it")
    assert "Traceback" not in rest
    assert out == ""
    assert os.listdir(tmp_path / "cnn") == ["checkpoint.safetensors"]

    refused = train("cnn", "--epochs", 15)
    assert refused.returncode == 2
    assert "an unfinished run; go on with --resume" in refused.stderr.decode()
    other = train("cnn", "--epochs", 16, "--resume")
    assert other.returncode == 2
    assert "epochs 15 there, 16 here" in other.stderr.decode()
    resumed = train("cnn", "--epochs", 15, "--resume")
    assert resumed.returncode == 0, resumed.stderr.decode()
    first = int(resumed.stderr.decode().split("/")[0].removeprefix("epoch "))
    assert first >= 3
    assert sorted(os.listdir(tmp_path / "cnn")) == ["cnn.json", "cnn.safetensors"]


def test_a_model_that_the_kit_does_not_train_is_refused(train):
    done = train("resnet")
    assert done.returncode == 2
    known = ", ".join(RECIPES)
    assert done.stderr.decode() == f"fmnist-edge: resnet: no such model; the kit trains {known}\n"


@pytest.fixture
def teachers(root, tmp_path):
    """A folder with an exported file in the place of each teacher of edge, and with the weights that edge begins as."""
    for name in RECIPES["edge"].teachers:
        (tmp_path / "teachers" / name).mkdir(parents=True)
        shutil.copy(root / "artifacts/edge/edge.int8.onnx", tmp_path / "teachers" / name / f"{name}.int8.onnx")
    shutil.copytree(root / "artifacts" / RECIPES["edge"].begins_as, tmp_path / "teachers" / RECIPES["edge"].begins_as)
    return tmp_path / "teachers"


def test_edge_learns_from_its_teachers_and_its_record_names_them(train, teachers, tmp_path):
    done = train("edge", "--epochs", 1, "--teachers", teachers)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr.decode().splitlines()[:2] == [
        "drawing 16 pictures of no garment",
        "asking the teachers about view 1 of 1",
    ]
    record = json.loads((tmp_path / "edge" / "edge.json").read_text())
    assert set(record["teachers"]) == {*RECIPES["edge"].teachers, RECIPES["edge"].begins_as}
    assert record["seed"] == RECIPES["edge"].seed
    assert all(len(digest) == 64 for digest in record["teachers"].values())


def test_a_teacher_that_is_not_there_is_named(train, tmp_path):
    done = train("edge", "--teachers", tmp_path)
    assert done.returncode == 2
    assert f"{RECIPES['edge'].teachers[0]}.int8.onnx: no such file; --teachers names" in done.stderr.decode()


def test_so_are_weights_to_begin_with(train, teachers):
    origin = RECIPES["edge"].begins_as
    shutil.rmtree(teachers / origin)
    done = train("edge", "--teachers", teachers)
    assert done.returncode == 2
    assert f"{origin}.safetensors: no such file; --teachers names" in done.stderr.decode()


def test_the_recipe_is_shown_and_nothing_is_trained(train, tmp_path):
    done = train("edge", "--recipe", "--epochs", 7)
    assert done.returncode == 0
    lines = dict(line.split(maxsplit=1) for line in done.stdout.decode().splitlines() if " " in line.strip())
    assert lines["epochs"] == "7"
    assert lines["teachers"] == ", ".join(RECIPES["edge"].teachers)
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_nothing_can_be_made_is_found_out_before_an_epoch(train, tmp_path):
    (tmp_path / "cnn").write_text("mine")
    done = train("cnn", "--epochs", 1)
    assert done.returncode == 1
    assert done.stderr.decode() == f"fmnist-edge: {tmp_path / 'cnn'}: File exists\n"
