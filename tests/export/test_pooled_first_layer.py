import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from fmnist_edge_export.formats.onnx_contract import onnx_contract
from fmnist_edge_export.formats.onnx_core import export_core
from fmnist_edge_export.formats.pooled_first_layer import pool_in_first_layer
from fmnist_edge_export.formats.quantise import calibrate, quantise, quantise_as_it_is
from fmnist_edge_export.formats.scores import Scores
from fmnist_edge_runtime.session import INPUT


def core_of(*layers, side=(28, 28)):
    torch.manual_seed(0)
    net = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))
    net(torch.zeros(2, 1, *side))
    return export_core(Scores(net, 0.0, 1.0).eval(), *side)


@pytest.fixture(scope="module")
def core():
    return core_of(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3))


def answers(core, images, optimised=None):
    """The scores for uint8 images; ``optimised`` is where onnxruntime writes what it makes of the whole file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimised:
        options.optimized_model_filepath = str(optimised)
    model = onnx_contract(copy.deepcopy(core), *images.shape[1:], temperature=1.0)
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(["logits"], {INPUT: images})[0]


def operators(model):
    return [node.op_type for node in model.graph.node]


def test_the_rewritten_net_gives_the_same_scores(core, sample):
    rewritten, _ = pool_in_first_layer(core)
    assert operators(rewritten)[:6] == ["Conv", "Relu", "Transpose", "Reshape", "Transpose", "MaxPool"]
    expected = answers(core, sample.images[:50])
    assert expected.std() > 0.02
    assert np.allclose(answers(rewritten, sample.images[:50]), expected, atol=1e-5)


def test_in_integers_the_scores_are_the_same_to_the_bit(core, sample):
    ranges = calibrate(core, sample.images[:200])
    rewritten, plain = quantise(core, ranges), quantise_as_it_is(core, ranges)
    assert operators(plain) != operators(rewritten)
    assert np.array_equal(answers(rewritten, sample.images), answers(plain, sample.images))


def test_in_integers_its_kernel_is_stored_once_and_zeros_are_understood(core, sample):
    graph = quantise(core, calibrate(core, sample.images[:200])).graph
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
    assert sizes["conv_0_corners_quantized_kernel"] == 8 * 10
    assert "conv_0_corners_quantized" not in sizes
    of_weights = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in sizes]
    assert len(of_weights) == 3
    assert all(len(node.input) == 2 for node in of_weights)


class Named(nn.Module):
    """A net whose parameters have names that an exporter might give."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 3)
        self.names = (
            "images",
            "pixels",
            "conv_0",
            "kernel",
            "temperature",
            "logits",
            "probabilities",
            "contract_images",
        )
        for name in self.names:
            self.register_parameter(name, nn.Parameter(torch.full((1,), 1.1)))

    def forward(self, x):
        x = nn.functional.max_pool2d(self.first(x).relu(), 2).mean((2, 3))
        for name in self.names:
            x = x * self.get_parameter(name)
        return self.last(x)


def test_names_in_a_net_meet_none_of_the_exporters(sample):
    core = export_core(Scores(Named(), 0.0, 1.0).eval(), 28, 28)
    expected = answers(core, sample.images[:50])
    quantised = quantise(core, calibrate(core, sample.images[:200]))
    assert np.abs(answers(quantised, sample.images[:50]) - expected).max() < 0.05 * np.ptp(expected)


@pytest.mark.parametrize(("height", "width"), [(12, 20), (2, 4)])
def test_so_they_are_for_pictures_of_another_size(height, width):
    images = np.random.default_rng(0).integers(0, 256, (40, height, width), np.uint8)
    core = core_of(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), side=(height, width))
    ranges = calibrate(core, images)
    rewritten, plain = quantise(core, ranges), quantise_as_it_is(core, ranges)
    assert operators(plain) != operators(rewritten)
    for count in (0, 1, 7, 40):
        assert np.array_equal(answers(rewritten, images[:count]), answers(plain, images[:count]))


def test_onnxruntime_runs_it_without_the_transpositions(core, sample, tmp_path):
    model = quantise(core, calibrate(core, sample.images[:200]))
    answers(model, sample.images[:1], tmp_path / "optimised.onnx")
    run = operators(onnx.load(tmp_path / "optimised.onnx"))
    assert run[:5] == ["Reshape", "QLinearConv", "Reshape", "NhwcMaxPool", "QLinearConv"]


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


@pytest.mark.parametrize("side", [(27, 28), (28, 30)])
def test_so_does_one_for_pictures_that_groups_of_four_columns_do_not_fill(side):
    core = core_of(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), side=side)
    assert pool_in_first_layer(core) == (core, {})


class Twice(nn.Module):
    """A net that also needs what its first layer gave before pooling."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)

    def forward(self, x):
        full = self.first(x).relu()
        return nn.functional.max_pool2d(full, 2).mean((2, 3)) + full.mean((2, 3))


class Beside(nn.Module):
    """A net whose last layer also reads the pixels."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8 + 784, 3)

    def forward(self, x):
        pooled = nn.functional.max_pool2d(self.first(x).relu(), 2).mean((2, 3))
        return self.last(torch.cat([pooled, x.flatten(1)], dim=1))


@pytest.mark.parametrize("net", [Twice(), Beside()], ids=["its first layer's values", "its pixels"])
def test_so_does_one_that_needs_the_full_resolution_too(net):
    core = export_core(Scores(net, 0.0, 1.0).eval(), 28, 28)
    assert [kind for kind in operators(core) if kind != "Reshape"][:3] == ["Conv", "Relu", "MaxPool"]
    assert pool_in_first_layer(core) == (core, {})
