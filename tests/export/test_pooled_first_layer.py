import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from fmnist_edge_export.formats import quantise as quantising
from fmnist_edge_export.formats.onnx_core import PIXELS, export_core
from fmnist_edge_export.formats.pooled_first_layer import pool_in_first_layer
from fmnist_edge_export.formats.quantise import calibrate, quantise
from fmnist_edge_export.formats.scores import Scores


def core_of(*layers, side=28):
    torch.manual_seed(0)
    net = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))
    net(torch.zeros(2, 1, side, side))
    return export_core(Scores(net, 0.0, 1.0).eval(), side, side)


@pytest.fixture(scope="module")
def core():
    return core_of(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3))


def answers(model, images, optimised=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimised:
        options.optimized_model_filepath = str(optimised)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {PIXELS: images[:, None].astype(np.float32) / 255})[0]


def operators(model):
    return [node.op_type for node in model.graph.node]


def test_the_rewritten_net_gives_the_same_scores(core, sample):
    rewritten, _ = pool_in_first_layer(core)
    assert operators(rewritten).count("Transpose") == 4
    expected = answers(core, sample.images[:50])
    assert expected.std() > 0.02
    assert np.allclose(answers(rewritten, sample.images[:50]), expected, atol=1e-5)


def test_in_integers_the_scores_are_the_same_to_the_bit(core, sample, monkeypatch):
    ranges = calibrate(core, sample.images[:200])
    rewritten = quantise(core, ranges)
    monkeypatch.setattr(quantising, "pool_in_first_layer", lambda core: (core, {}))
    plain = quantise(core, ranges)
    assert operators(plain) != operators(rewritten)
    assert np.array_equal(answers(rewritten, sample.images), answers(plain, sample.images))


def test_onnxruntime_runs_it_without_the_transpositions(core, sample, tmp_path):
    model = quantise(core, calibrate(core, sample.images[:200]))
    answers(model, sample.images[:1], tmp_path / "optimised.onnx")
    run = operators(onnx.load(tmp_path / "optimised.onnx"))
    start = run.index("QLinearConv")
    assert run[start : start + 5] == ["QLinearConv", "Reshape", "NhwcMaxPool", "Reshape", "QLinearConv"]


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3)],
        [nn.Conv2d(1, 8, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()],
        [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2)],
        [nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)],
        [nn.Conv2d(1, 8, 3, padding=1, stride=2), nn.ReLU(), nn.MaxPool2d(2)],
        [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, stride=1)],
        [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, padding=1)],
        [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2)],
    ],
)
def test_a_net_that_begins_otherwise_stays_as_it_is(layers):
    core = core_of(*layers)
    assert pool_in_first_layer(core) == (core, {})


def test_so_does_a_picture_with_an_odd_side():
    core = core_of(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), side=27)
    assert pool_in_first_layer(core) == (core, {})


class Twice(nn.Module):
    """A net that also needs what its first layer gave before pooling."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)

    def forward(self, x):
        full = self.first(x).relu()
        return nn.functional.max_pool2d(full, 2).mean((2, 3)) + full.mean((2, 3))


def test_so_does_one_that_needs_the_full_resolution_too():
    core = export_core(Scores(Twice(), 0.0, 1.0).eval(), 28, 28)
    assert operators(core)[:3] == ["Conv", "Relu", "MaxPool"]
    assert pool_in_first_layer(core) == (core, {})
