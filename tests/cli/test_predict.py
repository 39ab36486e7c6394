import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from fmnist_edge.cli import predict

PICTURES = "examples/pictures"


def records(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_shipped_picture_is_named_right(run, root):
    done = run("predict", root / PICTURES, "--jsonl")
    assert done.returncode == 0
    assert done.stderr == b""
    assert len(records(done)) == 10
    for record in records(done):
        assert record["label"].lower().replace("/", "-").replace(" ", "-") in record["path"]
        assert record["status"] == "ok"
        assert record["known"] is True


def test_a_person_reads_a_line_a_picture(run, root):
    done = run("predict", root / PICTURES / "bag.png", "-k", 2)
    (line,) = done.stdout.decode().splitlines()
    assert line.startswith(f"{root / PICTURES / 'bag.png'}: Bag ")
    assert line.count("%") == 2


def test_a_record_holds_what_is_documented(run, root):
    (record,) = records(run("predict", "--jsonl", "-k", 4, root / PICTURES / "dress.png"))
    assert record.keys() == {"path", "status", "label", "index", "confidence", "known", "as", "top"}
    assert record["index"] == 3
    assert record["as"] == "fmnist"
    assert len(record["top"]) == 4
    assert record["top"][0] == {"label": "Dress", "index": 3, "probability": record["confidence"]}


@pytest.mark.parametrize(("way", "told"), [("auto", "photo"), ("photo", "photo"), ("fmnist", "fmnist")])
def test_a_picture_on_white_is_cut_out_unless_told_otherwise(run, root, tmp_path, way, told):
    with Image.open(root / PICTURES / "bag.png") as picture:
        ImageOps.invert(picture.convert("L")).resize((200, 200)).save(tmp_path / "bag.png")
    (record,) = records(run("predict", "--jsonl", "--as", way, tmp_path / "bag.png"))
    assert record["as"] == told


def test_what_was_seen_is_saved_for_each_picture(run, root, tmp_path):
    bad = tmp_path / "notes.txt"
    bad.write_text("no picture")
    hostile = tmp_path / "a\nb; c.png"
    hostile.write_bytes((root / PICTURES / "bag.png").read_bytes())
    done = run("predict", root / PICTURES / "dress.png", bad, hostile, "--save-view", tmp_path / "new" / "views")
    assert done.returncode == 1
    saved = sorted(path.name for path in (tmp_path / "new" / "views").iterdir())
    assert saved == ["0001-dress.png", "0003-a_b__c.png"]
    for name in saved:
        with Image.open(tmp_path / "new" / "views" / name) as view:
            assert view.size == (904, 336)


def test_views_that_cannot_be_saved_are_a_wrong_call(run, root):
    taken = root / PICTURES / "dress.png"
    done = run("predict", taken, "--save-view", taken)
    assert done.returncode == 2
    assert b"cannot be made" in done.stderr


def test_so_is_a_folder_for_views_that_leads_to_itself(run, root, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    done = run("predict", root / PICTURES, "--save-view", tmp_path / "loop")
    assert done.returncode == 2
    assert b"cannot be made" in done.stderr


@pytest.mark.parametrize(("more", "views"), [([], "."), (["-r"], "."), (["-r"], "views/today")])
def test_views_among_the_pictures_are_refused_for_they_would_be_read_as_such(run, tmp_path, more, views):
    done = run("predict", *more, tmp_path, "--save-view", views, cwd=tmp_path)
    assert done.returncode == 2
    assert "where its drawings would be read as pictures; name another folder" in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_a_drawing_that_would_replace_an_input_is_refused(run, root, tmp_path):
    for name in ("a.png", "0001-a.png"):
        (tmp_path / name).write_bytes((root / PICTURES / "bag.png").read_bytes())
    done = run("predict", "a.png", "0001-a.png", "--save-view", ".", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert "is an INPUT, which a drawing would replace; name another folder" in done.stderr.decode()
    assert (tmp_path / "0001-a.png").read_bytes() == (root / PICTURES / "bag.png").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_what_a_link_in_the_folder_of_views_leads_to_stays(run, root, tmp_path, link):
    picture, other, views = tmp_path / "a.png", tmp_path / "other.png", tmp_path / "views"
    for path in (picture, other):
        path.write_bytes((root / PICTURES / "bag.png").read_bytes())
    views.mkdir()
    link(other, views / "0001-a.png")
    assert run("predict", picture, "--save-view", views).returncode == 0
    assert other.read_bytes() == picture.read_bytes()
    assert not (views / "0001-a.png").is_symlink()


def test_views_need_a_folder_with_a_name(run, root, tmp_path):
    done = run("predict", root / PICTURES / "bag.png", "--save-view", "", cwd=tmp_path)
    assert done.returncode == 2
    assert "the folder's name is empty" in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_views_below_the_pictures_are_not_among_them_unless_asked_to_look_there(run, root, tmp_path):
    (tmp_path / "bag.png").write_bytes((root / PICTURES / "bag.png").read_bytes())
    for _ in range(2):
        done = run("predict", tmp_path, "--save-view", tmp_path / "views")
        assert (done.returncode, done.stdout.count(b"\n")) == (0, 1)
    assert [path.name for path in (tmp_path / "views").iterdir()] == ["0001-bag.png"]


def test_standard_input_is_read_once(run):
    done = run("predict", "-", "-", stdin=b"")
    assert done.returncode == 2
    assert b"- is given twice" in done.stderr


def test_a_link_in_a_folder_to_what_is_gone_is_reported(run, root, tmp_path):
    (tmp_path / "bag.png").write_bytes((root / PICTURES / "bag.png").read_bytes())
    (tmp_path / "gone.png").symlink_to(tmp_path / "away.png")
    (tmp_path / "a-loop.png").symlink_to(tmp_path / "a-loop.png")
    done = run("predict", tmp_path, "--jsonl")
    assert done.returncode == 1
    said = {Path(record["path"]).name: record["status"] for record in records(done)}
    assert said == {"a-loop.png": "error", "bag.png": "ok", "gone.png": "error"}


def test_standard_input_is_a_picture_too(run, root):
    done = run("predict", "-", "--jsonl", stdin=(root / PICTURES / "sandal.png").read_bytes())
    assert [(record["path"], record["label"]) for record in records(done)] == [("-", "Sandal")]


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


@pytest.fixture
def bad_inputs(root, tmp_path):
    good = (root / PICTURES / "bag.png").read_bytes()
    (tmp_path / "text.png").write_text("just words")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "truncated.png").write_bytes(good[: len(good) // 2])
    (tmp_path / "folder").mkdir()
    names = ("text.png", "empty.png", "truncated.png", "folder", "missing.png", 300 * "a" + ".png")
    return [tmp_path / name for name in names]


def test_bad_inputs_get_a_line_each_and_stop_nobody(run, root, bad_inputs):
    good = root / PICTURES / "trouser.png"
    done = run("predict", *bad_inputs, good)
    assert done.returncode == 1
    assert done.stdout.decode().startswith(f"{good}: Trouser")
    lines = done.stderr.decode().splitlines()
    assert len(lines) == len(bad_inputs)
    expected = (
        "not an image",
        "the file is empty",
        "damaged or truncated",
        "a folder without pictures",
        "cannot be read",
        "cannot be read",
    )
    for line, path, words in zip(lines, bad_inputs, expected, strict=True):
        assert line.startswith(f"fmnist-edge: {path}: ")
        assert words in line


def test_bad_inputs_are_records_too(run, root, bad_inputs):
    done = run("predict", "--jsonl", *bad_inputs, root / PICTURES / "trouser.png")
    assert done.returncode == 1
    assert done.stderr == b""
    given = records(done)
    assert [record["status"] for record in given] == ["error"] * 6 + ["ok"]
    assert [record["path"] for record in given[:6]] == [str(path) for path in bad_inputs]
    assert all(record["error"] and record["path"] not in record["error"] for record in given[:6])


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


def test_models_that_cannot_be_used_end_the_call_with_one_line(run, root, tmp_path):
    content = bytearray((root / "artifacts/edge/edge.int8.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.onnx").write_bytes(content)
    (tmp_path / "other.onnx").write_bytes(bytes(content[:50_000]))
    (tmp_path / "text.onnx").write_text("just words")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name in ("flipped.onnx", "other.onnx", "text.onnx", "empty.onnx", "missing.onnx"):
        done = run("predict", "--model", tmp_path / name, root / PICTURES / "bag.png")
        assert (done.returncode, done.stdout) == (2, b""), name
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith(f"fmnist-edge: {tmp_path / name}: ")


def test_a_foreign_onnx_model_is_not_one_of_ours(run, root, tmp_path):
    import onnx

    node = onnx.helper.make_node("Identity", ["images"], ["logits"])
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("images", "logits")]
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph([node], "g", value[:1], value[1:])), tmp_path / "foreign.onnx"
    )
    done = run("predict", "--model", tmp_path / "foreign.onnx", root / PICTURES / "bag.png")
    assert done.returncode == 2
    assert "no fmnist_edge metadata, so it is not a model of this kit" in done.stderr.decode()


@pytest.mark.parametrize(
    "arguments",
    [(), ("--top", "3"), ("-k", "0", "x.png"), ("--threads", "0", "x.png"), ("--threads", "1025", "x.png"), ("",)],
)
def test_a_wrong_call_is_exit_code_2(run, arguments):
    done = run("predict", *arguments)
    assert done.returncode == 2
    assert b"Usage: fmnist-edge predict" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux alone")
def test_hostile_file_names_come_out_as_text(run, root, tmp_path):
    names = [b"a\nb.png", b"c\x1b[31m.png", b"d\xff.png", 'e"\u2028.png'.encode()]
    for name in names:
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
            file.write((root / PICTURES / "bag.png").read_bytes())
    done = run("predict", tmp_path)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4
    assert b"\x1b" not in done.stdout
    assert b"\xff" not in done.stdout
    found = {os.fsencode(record["path"]).rsplit(b"/", 1)[1] for record in records(run("predict", tmp_path, "--jsonl"))}
    assert found == set(names)


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
        wanted = [answer.index for index, answer in enumerate(classifier.predict_many(sample.images[:600]))]
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


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals there")
def test_a_bar_is_drawn_when_standard_error_is_a_terminal_and_results_go_elsewhere(folder):
    import pty

    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "fmnist_edge", "predict", "--jsonl", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, check=True)
    os.close(terminal)
    shown = b""
    while b"100%" not in shown:
        shown += os.read(screen, 65536)
    os.close(screen)
    assert b"predicting" in shown
    assert len(done.stdout.splitlines()) == 600


def test_a_closed_pipe_ends_quietly(folder):
    command = [sys.executable, "-m", "fmnist_edge", "predict", "--jsonl", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_what_is_no_garment_is_called_unknown(run, tmp_path):
    picture = tmp_path / "white.png"
    Image.new("RGB", (300, 200), "white").save(picture)
    assert run("predict", picture).stdout.decode().startswith(f"{picture}: unknown (perhaps ")
    assert records(run("predict", "--jsonl", picture))[0]["known"] is False


def test_predict_says_what_python_says(run, root):
    from fmnist_edge import Classifier

    with Classifier() as classifier:
        for record in records(run("predict", "--jsonl", root / PICTURES)):
            answer = classifier.predict(record["path"])
            assert (record["label"], record["confidence"]) == (answer.label, round(answer.confidence, 6))
