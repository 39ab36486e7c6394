"""Folders of pictures, few and many."""

import contextlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fmnist_edge.cli import predict

PICTURES = "examples/pictures"


def records(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_link_in_a_folder_to_what_is_gone_is_reported(run, root, tmp_path):
    (tmp_path / "bag.png").write_bytes((root / PICTURES / "bag.png").read_bytes())
    (tmp_path / "gone.png").symlink_to(tmp_path / "away.png")
    (tmp_path / "a-loop.png").symlink_to(tmp_path / "a-loop.png")
    done = run("predict", tmp_path, "--jsonl")
    assert done.returncode == 1
    said = {Path(record["path"]).name: record["status"] for record in records(done)}
    assert said == {"a-loop.png": "error", "bag.png": "ok", "gone.png": "error"}


def test_folders_below_a_folder_are_read_on_request(run, root, tmp_path):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (below / "bag.PNG").write_bytes((root / PICTURES / "bag.png").read_bytes())
    (below / "notes.txt").write_text("not a picture")
    assert run("predict", tmp_path).returncode == 1
    done = run("predict", "-r", tmp_path, "--jsonl")
    assert done.returncode == 0
    assert [record["label"] for record in records(done)] == ["Bag"]


def test_a_folders_pictures_come_by_name_those_of_folders_below_in_their_place(run, root, tmp_path):
    for name in ("b.png", "a/z.png", "a/B.PNG", "a-b/y.png", "a.png", "a/c/.hidden.png", ".png", "a/c.txt"):
        path = tmp_path / "w" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((root / PICTURES / "bag.png").read_bytes())
    (tmp_path / "w" / "again").symlink_to(tmp_path / "w", target_is_directory=True)
    wanted = ["a/B.PNG", "a/c/.hidden.png", "a/z.png", "a-b/y.png", "a.png", "b.png"]
    done = run("predict", "-r", ".", "--jsonl", cwd=tmp_path / "w")
    assert [Path(record["path"]).as_posix() for record in records(done)] == wanted
    done = run("predict", tmp_path / "w", "--jsonl")
    assert [record["path"] for record in records(done)] == [str(tmp_path / "w" / name) for name in ("a.png", "b.png")]


def test_a_path_is_repeated_as_it_was_given(run, tmp_path):
    done = run("predict", "./missing.png", "there//missing.png", cwd=tmp_path)
    lines = done.stderr.decode().splitlines()
    assert [line.split(": cannot")[0] for line in lines] == [
        "fmnist-edge: ./missing.png",
        "fmnist-edge: there//missing.png",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
@pytest.mark.parametrize("count", [3, 100], ids=["threads", "processes"])
def test_a_link_to_what_cannot_even_be_looked_for_stops_nobody(run, root, tmp_path, count):
    for number in range(count):
        (tmp_path / f"{number:03}.png").symlink_to(root / PICTURES / "bag.png")
    (tmp_path / "001x.png").symlink_to(300 * "a")
    done = run("predict", tmp_path)
    assert (done.returncode, done.stdout.count(b": Bag")) == (1, count)
    assert done.stderr.decode() == f"fmnist-edge: {tmp_path / '001x.png'}: cannot be read (File name too long)\n"


def test_a_folder_that_cannot_be_listed_is_an_input_that_fails(monkeypatch, tmp_path):
    (tmp_path / "secret").mkdir()
    listed = os.scandir

    def scandir(path):
        if path.endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert predict._expand(str(tmp_path), recursive=True) == [str(tmp_path / "secret")]
    assert predict._expand(str(tmp_path / "secret"), recursive=False) == [str(tmp_path / "secret")]


def test_folders_may_lie_deeper_than_calls_may(tmp_path):
    deep = tmp_path.joinpath(*"d" * 200)
    deep.mkdir(parents=True)
    for path in (tmp_path / "a.png", deep / "b.png", tmp_path / "e.png"):
        path.touch()
    before = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack()) + 100)
        found = predict._expand(str(tmp_path), recursive=True)
    finally:
        sys.setrecursionlimit(before)
    assert found == [str(tmp_path / "a.png"), str(deep / "b.png"), str(tmp_path / "e.png")]


@pytest.fixture
def folder(sample, tmp_path):
    """Six hundred pictures: their records are more than a pipe holds."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for index in range(600):
        Image.fromarray(sample.images[index]).save(folder / f"{index:03}.png")
    return folder


def test_many_pictures_keep_their_order_and_the_bad_ones_their_place(run, sample, folder):
    from fmnist_edge import Classifier

    (folder / "300.png").write_bytes(b"words")
    done = run("predict", folder, "--jsonl")
    assert done.returncode == 1
    assert done.stderr == b""
    given = records(done)
    assert [record["path"] for record in given] == [str(folder / f"{index:03}.png") for index in range(600)]
    assert [index for index, record in enumerate(given) if record["status"] == "error"] == [300]
    del given[300]
    with Classifier() as classifier:
        wanted = [answer.index for answer in classifier.predict_many(sample.images[:600])]
    assert [record["index"] for record in given] == wanted[:300] + wanted[301:]


def test_among_many_pictures_complaints_go_to_standard_error(run, folder):
    for name in ("000.png", "300.png", "599.png"):
        (folder / name).write_bytes(b"words")
    done = run("predict", folder)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 597
    assert [Path(line.split(": ")[1]).name for line in done.stderr.decode().splitlines()] == [
        "000.png",
        "300.png",
        "599.png",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_ctrl_c_among_many_pictures_is_one_line_and_leaves_no_process(folder):
    command = [sys.executable, "-m", "fmnist_edge", "predict", "--jsonl", str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, start_new_session=True) as process:
        process.stdout.readline()  # the rest is more than the pipe holds, so the command is still at it
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of its processes
        assert process.wait(60) == 130
        assert process.stderr.read() == b"fmnist-edge: interrupted\n"
        process.stdout.read()  # ends when the last process has


@pytest.fixture
def on_screen():
    """Predict with results that go nowhere and standard error that is a terminal; returns what that was sent."""

    def on_screen(*arguments, kind="xterm", columns=80):
        import termios

        screen, terminal = os.openpty()
        termios.tcsetwinsize(terminal, (24, columns))
        command = [sys.executable, "-m", "fmnist_edge", "predict", *arguments]
        environment = os.environ | {"TERM": kind}
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal, env=environment):
            os.close(terminal)
            sent = b""
            with contextlib.suppress(OSError):  # the other end is closed
                while piece := os.read(screen, 65536):
                    sent += piece
        os.close(screen)
        return sent.decode()

    return on_screen


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals there")
def test_a_bar_is_drawn_when_standard_error_is_a_terminal_and_results_go_elsewhere(on_screen, folder):
    shown = on_screen(folder, "--jsonl")
    assert "predicting" in shown
    assert "100%" in shown


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals there")
def test_a_complaint_takes_the_bars_place(on_screen, folder):
    (folder / "300.png").write_bytes(b"words")
    assert f"\r\x1b[Kfmnist-edge: {folder / '300.png'}: not an image" in on_screen(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals there")
def test_a_dumb_terminal_gets_no_bar(on_screen, folder):
    assert "predicting" not in on_screen(folder, kind="dumb")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals there")
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_bar_fits_the_terminal(on_screen, folder, columns):
    shown = re.sub(r"\x1b\[[?0-9]*[a-zA-Z]", "", on_screen(folder, columns=columns))
    assert "predicting" in shown
    assert max(map(len, re.split(r"[\r\n]", shown))) <= columns


def test_a_closed_pipe_ends_quietly(folder):
    command = [sys.executable, "-m", "fmnist_edge", "predict", "--jsonl", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
