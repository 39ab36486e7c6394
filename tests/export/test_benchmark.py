import io
import shutil
import sys
from dataclasses import replace

import pytest
import torch

from fmnist_edge_export import benchmark as module
from fmnist_edge_export.api import export_model
from fmnist_edge_export.benchmark import Row, advise, benchmark, find_files, steps
from fmnist_edge_export.formats import torchscript_file
from fmnist_edge_export.formats.quiet import quiet
from fmnist_edge_export.peak_memory import peak_memory
from fmnist_edge_runtime.errors import FmnistEdgeError, ModelError

ROW = Row("edge", "onnx", "edge.onnx", 1, 100.0, 1.0, 1000.0, None, exact=True)
INT8 = replace(ROW, form="onnx-int8", latency_us=50.0, ratio=0.5)


@pytest.fixture(autouse=True)
def torchs_threads():
    """Those of this process as they were: the files are measured on one."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 2)
    monkeypatch.setattr(module, "BULK_ROUNDS", 1)
    monkeypatch.setattr(module, "peak_memory", lambda path, threads: 123)


@pytest.mark.usefixtures("short")
def test_every_form_of_a_folder_is_measured_in_one_run(root):
    files, heard = find_files([root / "artifacts" / "edge"]), []
    result = benchmark(files, threads=1, on_round=lambda: heard.append(1))
    assert sorted(row.form for row in result.rows) == ["onnx", "onnx-int8", "pytorch", "torchscript"]
    assert len(heard) == steps(files)
    assert [row.latency_us for row in result.rows] == sorted(row.latency_us for row in result.rows)
    assert result.reference == "edge onnx-int8"
    assert {row.form: row.exact for row in result.rows}["pytorch"] is None
    for row in result.rows:
        assert row.bytes > 100_000
        assert row.latency_us > 0
        assert row.images_per_second > 0
        assert (row.ratio == 1) == (row.form == "onnx-int8")


def folder_of_a_module(folder, size):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size**2, 4))
    export_model(net, labels="abcd", out=folder, size=(size, size), formats=["onnx"])
    return folder


@pytest.mark.usefixtures("short")
def test_weights_of_a_module_that_the_kit_cannot_build_are_left_out_with_a_word(tmp_path):
    folder = folder_of_a_module(tmp_path / "mine", 28)
    result = benchmark(find_files([folder]), threads=1)
    assert [row.form for row in result.rows] == ["onnx"]
    assert result.left_out == (f"{folder / 'mine.safetensors'}: weights of a Sequential, which the kit cannot build",)


def test_pictures_of_another_size_are_not_asked_for(tmp_path):
    with pytest.raises(ModelError, match=r"takes pictures of 20 x 20, not of 28 x 28.*nothing that can be run"):
        benchmark(find_files([folder_of_a_module(tmp_path / "mine", 20)]), threads=1)


class FrozenAtFour(torch.nn.Module):
    """Takes the four pictures of a self-test and no other number."""

    def forward(self, images):
        scores = images.reshape(4, -1).float() @ torch.zeros(784, 10)
        return scores, scores.softmax(1)


@pytest.mark.usefixtures("short")
def test_torchscript_that_runs_its_self_test_alone_is_called_so(root, tmp_path):
    said = torchscript_file.read_contract((root / "artifacts/edge/edge.torchscript.pt").read_bytes(), "edge").raw
    buffer = io.BytesIO()
    with quiet():
        torch.jit.save(torch.jit.trace(FrozenAtFour(), torch.zeros(4, 28, 28, dtype=torch.uint8)), buffer)
    file = tmp_path / "edge.torchscript.pt"
    file.write_bytes(torchscript_file.seal(buffer.getvalue(), said))
    with pytest.raises(ModelError, match=r"edge\.torchscript\.pt: torch cannot run it \(.*\); export it again"):
        benchmark([file], threads=1)


@pytest.mark.usefixtures("short")
def test_models_of_one_name_are_told_apart_by_their_folders(root, tmp_path):
    files = [root / "artifacts/edge/edge.int8.onnx", tmp_path / "edge.int8.onnx"]
    shutil.copy(*files)
    names = {f"edge in {file.parent}" for file in files}
    result = benchmark(files, threads=1)
    assert {row.model for row in result.rows} == {advice.model for advice in result.advice} == names


def test_the_fastest_exact_form_is_recommended():
    (advice,) = advise([ROW, INT8])
    assert (advice.form, advice.why) == ("onnx-int8", "onnx takes 2.00 x as long")


def test_a_slower_int8_is_not():
    (advice,) = advise([ROW, replace(INT8, latency_us=300.0, ratio=3.0)])
    assert (advice.form, advice.why) == ("onnx", "onnx-int8 takes 3.00 x as long")


def test_neither_is_an_int8_that_is_not_exact_here():
    (advice,) = advise([ROW, replace(INT8, exact=False)])
    assert (advice.form, advice.why) == ("onnx", "onnx-int8 is less exact on this CPU: its self-test fails")


def test_the_advice_goes_by_the_ratio_that_it_tells():
    (advice,) = advise([replace(ROW, latency_us=100.0, ratio=0.50), replace(INT8, latency_us=101.0, ratio=0.49)])
    assert (advice.form, "takes 1.02 x as long" in advice.why) == (INT8.form, True)


def test_no_form_is_recommended_where_none_is_exact():
    (advice,) = advise([replace(ROW, exact=False)])
    assert advice.form == "none"


def test_bare_pytorch_is_no_form():
    assert advise([replace(ROW, form="pytorch", exact=None)]) == []


def test_files_are_found_in_folders_and_below(root, tmp_path):
    folder = root / "artifacts"
    assert {path.name for path in find_files([folder])} >= {"edge.onnx", "edge.int8.onnx", "cnn.safetensors"}
    assert find_files([folder / "edge" / "edge.onnx", folder / "edge" / "edge.onnx"]) == [folder / "edge" / "edge.onnx"]
    with pytest.raises(ModelError, match="no model file there"):
        find_files([tmp_path])
    rejected = shutil.copytree(folder / "edge", tmp_path / "edge.failed")
    with pytest.raises(ModelError, match="no model file there"):
        find_files([tmp_path])
    shutil.rmtree(rejected)
    (tmp_path / "checkpoint.safetensors").touch()
    with pytest.raises(ModelError, match="no model file there"):
        find_files([tmp_path])


def test_memory_is_that_of_a_process_that_serves_the_file(root):
    small, large = (peak_memory(root / "artifacts" / "edge" / name, 1) for name in ("edge.int8.onnx", "edge.onnx"))
    for memory in (small, large):
        assert sys.platform == "win32" or 20e6 < memory < 300e6


def test_a_process_that_fails_is_an_error_with_its_reason(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing")
    with pytest.raises(FmnistEdgeError, match=r"broken\.onnx"):
        peak_memory(broken, 1)
