"""Names of files, models and labels are other people's: text on a terminal, and whole again out of JSON.

On a real terminal, because what is written to a pipe is stripped of escapes by Typer, and on a terminal is not.
"""

import json
import os
import subprocess
import sys

import pytest

from fmnist_edge_runtime import modelfile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes, and terminals can be had, there")

EVIL = [
    b"line\nend",
    b"return\rcolumn",
    b"colour \x1b[31m",
    b"title \x1b]0;owned\x07",
    b"back\b\b\b\b",
    b"not UTF-8 \xff\xfe",
    "C1 \x9b31m".encode(),
    "right to left \u202e gnp".encode(),
    "line separator \u2028".encode(),
    b"quotes \"'`$(reboot)",
    b"backslash \\n \\x1b",
    b"all \x1b[31m\n\xff",
]


@pytest.fixture
def terminal():
    """Run the command line on a terminal of its own; returns its exit code and what the terminal was sent."""

    def terminal(*arguments):
        ours, theirs = os.openpty()
        command = [sys.executable, "-m", "fmnist_edge", *arguments]
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True) as process:
            os.close(theirs)
            sent = bytearray()
            while True:
                try:
                    sent += os.read(ours, 2**16)
                except OSError:  # the other end is closed
                    break
        os.close(ours)
        return process.returncode, sent.decode().replace("\r\n", "\n")

    return terminal


def assert_harmless(text):
    assert text
    assert [c for c in text if not c.isprintable() and c != "\n"] == []


def files_named(folder, suffix, content):
    folder.mkdir()
    names = [os.fsencode(folder) + b"/" + name + suffix for name in EVIL]
    for name in names:
        with open(name, "wb") as file:
            file.write(content)
    return names


@pytest.fixture
def pictures(root, tmp_path):
    return files_named(tmp_path / "pictures", b".png", (root / "examples/pictures/bag.png").read_bytes())


@pytest.fixture
def broken(tmp_path):
    return files_named(tmp_path / "broken", b".png", b"no picture")


@pytest.fixture
def models(root, tmp_path):
    return files_named(tmp_path / "models", b".onnx", (root / "artifacts/edge/edge.int8.onnx").read_bytes())


def test_a_picture_takes_one_line_of_the_terminal_whatever_its_name_is(terminal, pictures, broken, tmp_path):
    code, text = terminal("predict", tmp_path / "pictures", *broken)
    assert code == 1
    assert_harmless(text)
    assert len(text.splitlines()) == len(pictures) + len(broken)


def test_a_terminal_that_knows_ascii_alone_gets_every_line(run, root, tmp_path):
    content = (root / "examples/pictures/bag.png").read_bytes()
    for name in ("Schuhgröße.png", "靴.png"):
        (tmp_path / name).write_bytes(content)
    done = run("predict", tmp_path, tmp_path / "größer.png", environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    first, second = done.stdout.decode("ascii").splitlines()
    assert r"Schuhgr\xf6\xdfe.png: Bag" in first
    assert r"\u9774.png: Bag" in second
    assert rb"gr\xf6\xdfer.png: cannot be read" in done.stderr


def test_views_are_saved_under_plain_names(terminal, pictures, broken, tmp_path):
    code, text = terminal("predict", *pictures, *broken, "--save-view", tmp_path / "views")
    assert code == 1
    assert_harmless(text)
    saved = [path.name for path in (tmp_path / "views").iterdir()]
    assert len(saved) == len(pictures)
    assert all(
        name.isascii() and name.replace("-", "a").replace("_", "a").replace(".", "a").isalnum() for name in saved
    )


def test_names_come_whole_out_of_json(run, pictures, broken):
    done = run("predict", "--jsonl", *map(os.fsdecode, pictures + broken))
    assert done.stdout.isascii()
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [os.fsencode(record["path"]) for record in records] == pictures + broken
    assert [record["status"] for record in records] == ["ok"] * len(pictures) + ["error"] * len(broken)


@pytest.mark.usefixtures("test_images")
def test_a_name_of_a_model_comes_whole_out_of_json(run, models):
    for command in ("info", "evaluate", "benchmark"):
        done = run(command, "--json", os.fsdecode(models[-1]))
        said = json.loads(done.stdout)
        assert os.fsencode(said["rows"][0]["path"] if command == "benchmark" else said["path"]) == models[-1]


@pytest.mark.parametrize("command", ["info", "verify", "predict --model"])
def test_the_name_of_a_model_file_is_shown_as_text(terminal, models, root, command):
    for path in models:
        more = [root / "examples/pictures/bag.png"] if "predict" in command else []
        code, text = terminal(*command.split(), path, *more)
        assert code == 0
        assert_harmless(text)


@pytest.mark.parametrize(
    "call",
    [
        ["info"],
        ["verify"],
        ["evaluate", "--quiet"],
        ["benchmark", "--quiet"],
        ["evaluate", "--data"],
        ["export", "--checkpoint"],
        ["export", "--out"],
        ["export"],
        ["train"],
        ["train", "cnn", "--data"],
        ["predict", "bag.png", "--model"],
        ["predict", "bag.png", "-k"],
        ["predict", "bag.png", "--as"],
        ["info", "a", "b"],
        [],
    ],
)
def test_complaints_repeat_names_as_text(terminal, broken, call):
    code, text = terminal(*call, broken[-1])
    assert code in (1, 2)
    assert_harmless(text)


def test_views_that_cannot_be_saved_are_named_as_text(terminal, pictures):
    code, text = terminal("predict", pictures[0], "--save-view", pictures[-1])
    assert code == 2
    assert_harmless(text)


@pytest.fixture
def evil_model(bundled, graph, tmp_path):
    """A sealed model whose every text is hostile, made for another version of the picture reader."""
    opened = modelfile.read(bundled)
    evil = "\x1b[31m\nline\x07"
    metadata = opened.contract.raw | {
        **dict.fromkeys(("name", "architecture", "format", "weights_sha256"), evil),
        "labels": [f"{label}{evil}" for label in opened.contract.labels],
        "input": opened.contract.raw["input"] | {"polarity": evil, "picture_reader": 1},
        "provenance": {"licence": evil},
        "versions": {evil: evil},
    }
    path = tmp_path / "evil\x1b[31m.onnx"
    path.write_bytes(modelfile.seal(graph, metadata))
    return path


@pytest.mark.parametrize("command", ["info", "verify", "predict bag.png --model", "benchmark --quiet"])
def test_what_a_model_says_of_itself_is_shown_as_text(terminal, root, evil_model, command):
    command = command.replace("bag.png", str(root / "examples/pictures/bag.png"))
    code, text = terminal(*command.split(), evil_model)
    assert code == (1 if command == "verify" else 0), text  # a format that is none may not differ as int8 may
    assert_harmless(text)
    assert "\\x1b[31m" in text


def test_what_a_manifest_says_is_shown_as_text(terminal, artifacts):
    path = artifacts / "edge" / "manifest.json"
    known = json.loads(path.read_text())
    known["files"]["\x1b[31mfake\nok      edge.onnx  digest"] = {"sha256": "0"}
    path.write_text(json.dumps(known))
    code, text = terminal("verify", artifacts / "edge")
    assert code == 1
    assert_harmless(text)
    assert not [line for line in text.splitlines() if line.startswith("ok      edge.onnx  digest  ") and "fake" in line]
    assert len([line for line in text.splitlines() if "fake" in line and line.startswith("FAILED")]) == 1
