"""Help, version, info, verify, evaluate and export as a person or a program calls them."""

import contextlib
import json
import logging
import shutil
import sys

import pytest
from typer.testing import CliRunner

import fmnist_edge
from fmnist_edge.cli import app
from fmnist_edge.cli.export import ALL_FORMATS
from fmnist_edge_export import folder
from fmnist_edge_export.formats import torchscript_file
from fmnist_edge_export.formats.registry import FORMATS
from fmnist_edge_runtime import modelfile, session

COMMANDS = ("predict", "export", "verify", "info", "evaluate", "benchmark", "train")


@pytest.fixture
def invoke():
    """Run the command line in this process, and take back what it sets up for logging."""
    loggers = [logging.getLogger(name) for name in ("", "fmnist_edge_export")]
    before = [(logger.handlers[:], logger.level) for logger in loggers]

    def invoke(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="fmnist-edge")

    yield invoke
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)


def test_help_names_every_command(invoke):
    text = invoke("--help").stdout
    assert all(f"\n  {command} " in text for command in COMMANDS)
    assert "Usage" in invoke().output


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_examples(invoke, command):
    done = invoke(command, "--help")
    assert done.exit_code == 0
    assert f"  fmnist-edge {command}" in done.stdout.split("Options:")[0]
    assert "\x1b" not in done.stdout


def test_export_makes_every_form_unless_told_otherwise():
    assert ALL_FORMATS.split(",") == list(FORMATS)


def test_version(invoke):
    assert invoke("--version").stdout == f"fmnist-edge {fmnist_edge.__version__}\n"


def test_info_for_people_and_for_programs(invoke, root):
    path = root / "artifacts/edge/edge.onnx"
    shown = invoke("info", path).stdout
    said = json.loads(invoke("info", path, "--json").stdout)
    assert "model        edge (edge), onnx\n" in shown
    assert f"weights      sha256 {said['weights_sha256']}\ngraph        sha256 {said['graph_sha256']}\n" in shown
    assert said["path"] == str(path)
    assert said["labels"][9] == "Ankle boot"
    assert json.loads(invoke("info", "--json").stdout)["format"] == "onnx-int8"


def test_info_of_what_is_no_model(invoke, tmp_path):
    done = invoke("info", tmp_path / "missing.onnx")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1


def test_verify_a_whole_folder(invoke, artifacts):
    done = invoke("verify", artifacts / "edge")
    assert done.exit_code == 0
    assert "FAILED" not in done.stdout
    assert done.stdout.count("self-test") == 3


def test_verify_the_folder_one_stands_in(run, artifacts):
    done = run("verify", ".", cwd=artifacts / "edge")
    assert done.returncode == 0, done.stdout.decode()


def test_verify_names_what_is_wrong(invoke, artifacts):
    folder = artifacts / "edge"
    content = bytearray((folder / "edge.onnx").read_bytes())
    content[1000] ^= 1
    (folder / "edge.onnx").write_bytes(content)
    (folder / "edge.torchscript.pt").unlink()
    (folder / "stray.onnx").write_bytes(b"")
    done = invoke("verify", folder)
    assert done.exit_code == 1
    failed = [line.split()[1:3] for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert failed == [
        ["edge.onnx", "manifest"],
        ["edge.torchscript.pt", "manifest"],
        ["stray.onnx", "manifest"],
        ["edge.onnx", "digest"],
    ]


def test_verify_goes_on_after_a_missing_path(invoke, artifacts, tmp_path):
    done = invoke("verify", tmp_path / "missing", artifacts / "edge" / "edge.int8.onnx")
    assert done.exit_code == 2
    assert "no such file or folder" in done.stderr
    assert "ok" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no name is too long to be looked for there")
def test_verify_goes_on_after_a_path_that_cannot_be_looked_at(invoke, artifacts):
    done = invoke("verify", 300 * "a", artifacts / "edge" / "edge.int8.onnx")
    assert done.exit_code == 2
    assert done.stderr == f"fmnist-edge: {300 * 'a'}: cannot be read (File name too long)\n"
    assert "ok" in done.stdout


def test_a_model_without_a_name_is_not_edge(invoke, tmp_path):
    done = invoke("export", "", "--out", tmp_path)
    assert done.exit_code == 2
    assert "'': a MODEL's name is needed" in done.stderr
    done = invoke("train", "", "--out", tmp_path)
    assert done.exit_code == 2
    assert done.stderr.startswith("fmnist-edge: an empty name: no such model; the kit trains edge, ")


def test_weights_are_no_name_of_a_model(invoke):
    done = invoke("export", "edge.safetensors")
    assert done.exit_code == 2
    assert "'edge.safetensors': a MODEL's name is needed, not a path; weights elsewhere: --checkpoint" in done.stderr


def test_training_that_is_interrupted_before_an_epoch_is_complete_leaves_nothing(invoke, sample, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        assert (tmp_path / "runs" / "cnn").is_dir()
        raise KeyboardInterrupt

    monkeypatch.setattr("fmnist_edge_export.data.load", lambda *_: sample)
    monkeypatch.setattr("fmnist_edge_export.train.train", interrupted)
    done = invoke("train", "cnn", "--out", tmp_path / "runs")
    assert done.exit_code == 130
    assert done.stderr == "fmnist-edge: interrupted; no epoch was complete, nothing is kept\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no locks on folders there")
def test_training_does_not_begin_in_a_folder_that_another_run_has_taken_away(invoke, sample, tmp_path, monkeypatch):
    lock = folder.locked

    @contextlib.contextmanager
    def locked(place, **how):
        with lock(place, **how):
            place.rmdir()
            yield

    monkeypatch.setattr("fmnist_edge_export.data.load", lambda *_: sample)
    monkeypatch.setattr(folder, "locked", locked)
    monkeypatch.setattr("fmnist_edge_export.train.train", lambda *_, **__: pytest.fail("there is no folder"))
    done = invoke("train", "cnn", "--out", tmp_path)
    assert done.exit_code == 2
    assert done.stderr.endswith("another run trains there; wait for its end, or name another --out\n")


@pytest.mark.parametrize(
    "call",
    [
        ("verify", ""), ("benchmark", ""), ("evaluate", ""), ("info", ""), ("predict", "it.png", "--model", ""),
        ("export", "--checkpoint", ""), ("export", "--out", ""), ("train", "cnn", "--teachers", ""),
        ("evaluate", "--data", ""),
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_empty_name_is_not_taken_for_the_folder_one_is_in(invoke, call):
    done = invoke(*call)
    assert done.exit_code == 2
    assert "the name is empty, as that of a shell variable that is not set" in done.stderr


def test_where_matplotlib_has_no_folder_for_its_fonts_it_leaves_none_behind(run, tmp_path):
    done = run("export", "it", environment={"MPLCONFIGDIR": "/dev/null/it", "TMPDIR": str(tmp_path)}, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [".", "/"])
def test_a_folder_is_no_checkpoint(invoke, given):
    done = invoke("export", "--checkpoint", given)
    assert done.exit_code == 2
    assert done.stderr == f"fmnist-edge: {given}: not a file; a model is NAME.safetensors with NAME.json beside it\n"


@pytest.mark.parametrize("command", ["benchmark", "export"])
def test_what_is_wrong_with_weights_is_told_of_the_file_that_was_named(invoke, root, tmp_path, command):
    (tmp_path / "lonely.safetensors").touch()
    for given, words in (
        (tmp_path / "lonely.safetensors", "there is no lonely.json beside it"),
        (root / "artifacts/edge/edge.json", "not a file of weights; a model is NAME.safetensors with NAME.json"),
    ):
        done = invoke(command, *(["--checkpoint"] if command == "export" else []), given)
        assert done.exit_code == 2
        assert f"{given}: {words}" in done.stderr


def test_a_torchscript_file_that_torch_cannot_run_is_told_on_one_line(invoke, root, tmp_path):
    content = (root / "artifacts/edge/edge.torchscript.pt").read_bytes()
    metadata, graph = torchscript_file.read_contract(content, "it").raw, unsealed(content)
    members = {
        name: member.replace(b"torch.relu(", b"torch.rule(") if name.endswith(".py") else member
        for name, member in torchscript_file._members(graph).items()
    }
    file = tmp_path / "newer.pt"
    file.write_bytes(torchscript_file.seal(torchscript_file.archive_of(members), metadata))
    words = f"{file}: torch cannot run it (Unknown builtin op: aten::rule.); export it again"
    verified, measured = invoke("verify", file), invoke("benchmark", file)
    assert (verified.exit_code, measured.exit_code) == (1, 2)
    assert words in verified.stdout
    assert measured.stderr == f"fmnist-edge: {words}\n"


def unsealed(content):
    """A TorchScript archive without its contract."""
    members = torchscript_file._members(content)
    del members[torchscript_file._ENTRY]
    return torchscript_file.archive_of(members)


def test_verify_replays_a_single_torchscript_file(invoke, artifacts):
    done = invoke("verify", artifacts / "edge" / "edge.torchscript.pt")
    assert done.exit_code == 0
    assert "self-test" in done.stdout


@pytest.mark.parametrize(("form", "least"), [("edge.onnx", 0.94), ("edge.int8.onnx", 0.94)])
def test_evaluate_on_the_test_images(invoke, root, test_images, form, least):
    said = json.loads(invoke("evaluate", root / "artifacts/edge" / form, "--json").stdout)
    assert said["images"] == len(test_images) == sum(map(sum, said["confusion"]))
    assert said["accuracy"] >= least
    assert said["accuracy"] == pytest.approx(sum(said["confusion"][i][i] for i in range(10)) / 10_000)
    assert said["nll"] < 0.2
    assert said["ece"] < 0.02


def test_evaluate_for_people(invoke, test_images):
    text = invoke("evaluate").stdout
    assert "\naccuracy   9" in text
    assert len(test_images) == 10_000
    assert text.count("\n") == 17


def test_evaluate_without_the_images_says_what_to_do(invoke, tmp_path):
    done = invoke("evaluate", "--data", tmp_path)
    assert done.exit_code == 1
    assert "t10k-images-idx3-ubyte[.gz]: missing" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "nothing.safetensors: no such file"),
        (["--format", "tflite"], "tflite: no such format; there are onnx, onnx-int8, torchscript"),
        (["edge", "--checkpoint", "x.safetensors"], "not both"),
    ],
)
def test_a_wrong_export_is_exit_code_2(invoke, artifacts, arguments, words):
    done = invoke("export", "--out", artifacts, *arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_the_rebuilt_onnx_files_are_the_committed_ones(run, root, artifacts, tmp_path):
    """Needs the versions of constraints.txt, which the committed files name."""
    said = json.loads(run("info", root / "artifacts/edge/edge.onnx", "--json").stdout)["versions"]
    from fmnist_edge_export.record import tool_versions

    assert said == tool_versions(), "install with -c constraints.txt, or export again and commit"
    committed = {name: (artifacts / "edge" / name).read_bytes() for name in ("edge.onnx", "edge.int8.onnx")}
    for name in committed:
        (artifacts / "edge" / name).unlink()
    shutil.copytree(artifacts, tmp_path / "elsewhere")
    done = run("export", "--out", tmp_path / "elsewhere", "--quiet")
    assert done.returncode == 0, done.stderr.decode()
    for name, content in committed.items():
        assert (tmp_path / "elsewhere" / "edge" / name).read_bytes() == content


def test_benchmark_names_the_cpu_times_each_file_and_recommends_one(invoke, root):
    done = invoke("benchmark", root / "artifacts/edge/edge.int8.onnx", root / "artifacts/edge/edge.onnx")
    assert done.exit_code == 0
    cpu, versions, _, header, *rows, _, advice = done.stdout.splitlines()
    assert cpu.split(":")[0]
    assert versions.startswith("onnxruntime ")
    assert header.split()[0] == "model"
    assert sorted(row.split()[1] for row in rows) == ["onnx", "onnx-int8"]
    assert advice.startswith("edge: use onnx")


def test_benchmark_as_json(invoke, root):
    said = json.loads(invoke("benchmark", root / "artifacts/edge/edge.int8.onnx", "--json").stdout)
    (row,) = said["rows"]
    assert (row["form"], row["ratio"], row["exact"]) == ("onnx-int8", 1.0, True)
    assert said["advice"] == [{"model": "edge", "form": "onnx-int8", "why": "the only form here"}]
    assert said["cpu"]["name"]
    assert said["threads"] == 1


def test_benchmark_of_nothing_is_refused(invoke, tmp_path):
    done = invoke("benchmark", tmp_path)
    assert done.exit_code == 2
    assert "no model file there" in done.stderr


@pytest.mark.parametrize("command", ["predict", "benchmark"])
def test_threads_are_those_of_the_session(invoke, root, monkeypatch, command):
    asked, load = [], session._load
    monkeypatch.setattr(session, "_load", lambda file, threads: asked.append(threads) or load(file, threads))
    given = root / ("examples/pictures/bag.png" if command == "predict" else "artifacts/edge/edge.int8.onnx")
    assert invoke(command, "--threads", 3, given).exit_code == 0
    assert asked[0] == 3


@pytest.mark.parametrize("form", ["edge.onnx", "edge.int8.onnx", "edge.torchscript.pt"])
def test_verify_takes_no_file_at_its_word(invoke, root, graph_of, tmp_path, form):
    content = (root / "artifacts/edge" / form).read_bytes()
    if form.endswith(".pt"):
        metadata = torchscript_file.read_contract(content, form).raw
        graph, seal = unsealed(content), torchscript_file.seal
    else:
        metadata = modelfile.read(content).contract.raw
        graph, seal = graph_of(content), modelfile.seal
    for tolerance, code in ((metadata["self_test"]["file_tolerance"], 0), (1e6, 1)):
        metadata["self_test"]["file_tolerance"] = tolerance
        (tmp_path / form).write_bytes(seal(graph, metadata))
        assert invoke("verify", tmp_path / form).exit_code == code
