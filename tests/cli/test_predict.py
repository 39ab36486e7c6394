import json

import pytest
from PIL import Image, ImageOps

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


def test_standard_input_is_read_once(run):
    done = run("predict", "-", "-", stdin=b"")
    assert done.returncode == 2
    assert b"- is given twice" in done.stderr


def test_standard_input_is_a_picture_too(run, root):
    done = run("predict", "-", "--jsonl", stdin=(root / PICTURES / "sandal.png").read_bytes())
    assert [(record["path"], record["label"]) for record in records(done)] == [("-", "Sandal")]


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


@pytest.mark.parametrize(
    "arguments",
    [(), ("--top", "3"), ("-k", "0", "x.png"), ("--threads", "0", "x.png"), ("--threads", "1025", "x.png"), ("",)],
)
def test_a_wrong_call_is_exit_code_2(run, arguments):
    done = run("predict", *arguments)
    assert done.returncode == 2
    assert b"Usage: fmnist-edge predict" in done.stderr


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


def test_three_labels_are_given_unless_told_otherwise(run, root):
    assert run("predict", root / PICTURES / "bag.png").stdout.count(b"%") == 3


def test_standard_input_is_read_among_many_pictures(run, root):
    many = [root / PICTURES / "bag.png"] * 100
    done = run("predict", *many, "-", "--jsonl", stdin=(root / PICTURES / "sandal.png").read_bytes())
    assert done.returncode == 0
    assert [record["label"] for record in records(done)] == ["Bag"] * 100 + ["Sandal"]
