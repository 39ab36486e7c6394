import struct
import zipfile
from io import BytesIO

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from fmnist_edge_export.formats import torchscript, torchscript_file
from fmnist_edge_export.formats.onnx_contract import onnx_contract
from fmnist_edge_export.formats.onnx_core import export_core
from fmnist_edge_export.formats.quantise import calibrate, quantise
from fmnist_edge_export.formats.registry import FORMATS
from fmnist_edge_export.formats.scores import Scores
from fmnist_edge_runtime import modelfile
from fmnist_edge_runtime.errors import ModelError
from fmnist_edge_runtime.session import Session


@pytest.fixture(scope="module")
def built(sources):
    return {name: form.build(sources["edge"]) for name, form in FORMATS.items()}


@pytest.mark.parametrize("name", ["onnx", "onnx-int8"])
def test_an_onnx_file_loads_on_old_runtimes_and_says_nothing_of_this_machine(built, name):
    model = onnx.load_model_from_string(built[name])
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 10
    assert [(entry.domain, entry.version <= 20) for entry in model.opset_import] == [("", True)]
    assert b".py" not in built[name]
    assert b"pkg.torch" not in built[name]


@pytest.mark.parametrize("name", ["onnx", "onnx-int8"])
def test_an_onnx_build_repeats_to_the_byte(sources, built, name):
    fresh = type(sources["edge"])(sources["edge"].module, sources["edge"].record, sources["edge"].weights)
    assert FORMATS[name].build(fresh) == built[name]


@pytest.mark.parametrize(
    ("name", "moves"), [("edge", ["Reshape", "Transpose"]), ("cnn", ["Unsqueeze"])], ids=["in fours", "one by one"]
)
def test_the_input_is_quantised_by_being_the_raw_pixels(sources, name, moves):
    model = onnx.load_model_from_string(FORMATS["onnx-int8"].build(sources[name]))
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    value = "images"
    for kind in [*moves, "DequantizeLinear"]:
        (node,) = [node for node in model.graph.node if value in node.input]
        assert node.op_type == kind
        value = node.output[0]
    assert values[node.input[1]] == np.float32(1 / 255)
    assert values[node.input[2]] == 0


@pytest.mark.parametrize(("name", "products"), [("edge", 0), ("cnn", 1)])
def test_every_layer_but_the_last_runs_in_integers(sources, name, products, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    content = FORMATS["onnx-int8"].build(sources[name])
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    convolutions = [layer for layer in sources[name].module.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert kinds.count("QLinearConv") == len(convolutions) > 0
    assert kinds.count("QGemm") == products
    assert kinds.count("Gemm") == 1
    assert "Conv" not in kinds


def test_a_torchscript_file_holds_no_paths(built):
    with zipfile.ZipFile(BytesIO(built["torchscript"])) as archive:
        names = archive.namelist()
        everything = b"".join(archive.read(name) for name in names)
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    assert not [name for name in names if name.endswith(".debug_pkl")]
    assert b"site-packages" not in everything
    assert b".py" not in everything


def test_a_torchscript_file_carries_its_contract_where_torch_finds_it(built, sources):
    form, source = FORMATS["torchscript"], sources["edge"]
    tests = {
        "images": "AA==",
        "reference_logits": [[0.0] * 10],
        "file_logits": [[0.0] * 10],
        "reference_tolerance": 1,
        "file_tolerance": 1,
    }
    sealed = form.seal(built["torchscript"], source.metadata("torchscript", tests))
    extra = {"fmnist_edge": ""}
    with pytest.warns(FutureWarning):
        torch.jit.load(BytesIO(sealed), _extra_files=extra)
    assert b'"name":"edge"' in extra["fmnist_edge"]


@pytest.mark.parametrize("answer", [1, ("a", "b"), (torch.zeros(4, 7), torch.zeros(4, 7))], ids=["1", "texts", "7"])
def test_a_torchscript_file_that_answers_with_something_else_cannot_be_run(root, monkeypatch, answer):
    content = (root / "artifacts/edge/edge.torchscript.pt").read_bytes()
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: lambda _: answer)
    with pytest.raises(ModelError, match="it: torch cannot run it"):
        torchscript.load_and_replay(content, torchscript_file.read_contract(content, "it"), "it")


def test_a_damaged_torchscript_file_is_refused_before_torch_sees_it(root):
    content = (root / "artifacts" / "edge" / "edge.torchscript.pt").read_bytes()
    assert torchscript_file.read_contract(content, "it").name == "edge"
    with zipfile.ZipFile(BytesIO(content)) as archive:
        headers = {info.filename: info.header_offset for info in archive.infolist() if info.file_size}
    # a local header is 30 bytes, with the lengths of the name and of an extra field in its last four
    lengths = {name: struct.unpack_from("<HH", content, start + 26) for name, start in headers.items()}
    positions = [8 * (start + 30 + sum(lengths[name])) for name, start in headers.items()]
    positions += np.random.default_rng(0).integers(0, 8 * len(content), 1_000).tolist()
    positions += range(8 * len(content) - 8_000, 8 * len(content), 7)  # the directory, most of which nobody reads
    for position in positions:
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(ModelError, match=r"^it: .*$"):
            torchscript_file.read_contract(bytes(damaged), "it")
    for content in (b"", b"text", b"PK\x05\x06" + bytes(18)):
        with pytest.raises(ModelError):
            torchscript_file.read_contract(content, "it")


class EndsInLogSoftmax(nn.Sequential):
    def __init__(self, last):
        super().__init__(nn.Flatten(), nn.Linear(784, 3), last)


@pytest.mark.parametrize("last", [nn.LogSoftmax(dim=1), nn.LogSoftmax(dim=-1)])
def test_a_net_that_ends_in_log_softmax_gives_its_logits(last):
    net = EndsInLogSoftmax(last).eval()
    pixels = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(Scores(net, 0.0, 1.0)(pixels), net[1](pixels.flatten(1)))
    core = export_core(Scores(net, 0.0, 1.0).eval(), 28, 28)
    assert "LogSoftmax" not in [node.op_type for node in core.graph.node]


def test_a_frozen_batch_cannot_be_exported():
    class Frozen(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] + torch.zeros(2, 3)

    with pytest.raises(ModelError, match="Frozen: its batch size is frozen at 2"):
        export_core(Scores(Frozen(), 0.0, 1.0), 28, 28)


def test_what_torch_cannot_export_is_refused_with_one_line():
    class Chooses(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] if x.sum() > 0 else x.flatten(1)[:, 3:6]

    with pytest.raises(ModelError, match=r"Chooses: torch\.onnx cannot export it") as caught:
        export_core(Scores(Chooses(), 0.0, 1.0), 28, 28)
    assert "\n" not in str(caught.value)


def test_ranges_of_another_network_are_refused(sources):
    with pytest.raises(ModelError, match="no calibration range for"):
        quantise(sources["edge"].core, sources["cnn"].record.ranges)


def test_calibration_repeats_what_the_record_keeps(sources, training_images):
    from fmnist_edge_export.formats.quantise import calibration_images
    from fmnist_edge_export.recipes import RECIPES
    from fmnist_edge_export.train import split

    source = sources["edge"]
    learned = split(training_images, training_images, RECIPES["edge"]).learn
    ranges = calibrate(source.core, calibration_images(learned.images))
    assert ranges.keys() == source.record.ranges.keys()
    for name, kept in source.record.ranges.items():
        assert ranges[name] == pytest.approx(kept, abs=1e-3), name


@pytest.mark.parametrize("name", ["edge", "edge_large"])
def test_temperature_and_threshold_repeat_what_the_record_keeps(sources, training_images, name):
    from fmnist_edge_export.calibration import fit_temperature, fit_threshold
    from fmnist_edge_export.proof.reference import reference_logits
    from fmnist_edge_export.recipes import RECIPES
    from fmnist_edge_export.train import split
    from fmnist_edge_runtime.selftest import softmax

    source = sources[name]
    held_out = split(training_images, training_images, RECIPES[name]).watch
    logits = reference_logits(source, held_out.images)
    assert fit_temperature(logits, held_out.labels) == pytest.approx(source.record.temperature, abs=0.002)
    known_from = fit_threshold(softmax(logits / source.record.temperature))
    assert known_from == pytest.approx(source.record.unknown_threshold, abs=0.004)  # then between two images


def run_both(net, images):
    """What a net's ONNX and TorchScript forms answer to uint8 images, and what it answers itself."""
    scores = Scores(net.eval(), 0.0, 1.0).eval()
    height, width = images.shape[1:]
    content = onnx_contract(export_core(scores, height, width), height, width, 1.0).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    script = torchscript.load(torchscript.trace(torchscript.Contracted(scores, 1.0), height, width))
    with torch.inference_mode():
        own = net(torch.from_numpy(images[:, None].astype(np.float32) / np.float32(255))).numpy()
    return session.run(["logits"], {"images": images})[0], script(images)[0], own


class Flat(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x).flatten(1)


def test_the_notebooks_max_pool_with_ceil_mode():
    matrix = np.array([[1, 2, 0, 3, 1], [0, 1, 2, 3, 1], [1, 2, 1, 0, 0], [5, 2, 3, 1, 1], [2, 1, 0, 1, 1]], np.uint8)
    for answer in run_both(Flat(nn.MaxPool2d(kernel_size=3, ceil_mode=True)), np.stack([matrix, matrix])):
        np.testing.assert_allclose(answer[0] * 255, [2, 3, 5, 1], rtol=1e-6)


def test_the_notebooks_convolution_from_28_to_24(sample):
    torch.manual_seed(0)
    convolution = nn.Conv2d(1, 1, kernel_size=5)
    in_onnx, in_script, own = run_both(Flat(convolution), sample.images[:8])
    assert own.shape == (8, 24 * 24)
    np.testing.assert_allclose(in_onnx, own, atol=1e-5)
    np.testing.assert_allclose(in_script, own, atol=1e-5)


def test_a_sealed_file_is_the_graph_and_one_more_field(built):
    sealed = modelfile.seal(built["onnx"], {"schema_version": 1})
    assert sealed.startswith(built["onnx"])
    assert onnx.load_model_from_string(sealed).metadata_props[0].key == "fmnist_edge"


@pytest.mark.parametrize("name", ["onnx", "onnx-int8"])
def test_an_onnx_file_is_asked_for_a_picture_alone_as_it_is_served(root, sample, monkeypatch, name):
    _, run = FORMATS[name].open((root / "artifacts/edge" / FORMATS[name].file_name("edge")).read_bytes())
    served = np.zeros((1, 10), np.float32)
    monkeypatch.setattr(Session, "_of_one", lambda *_: served)
    assert run(sample.images[:1])[1] is served
    assert run(sample.images[:2])[1].sum() == pytest.approx(2)
