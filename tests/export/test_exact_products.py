"""Weights are as large as every CPU multiplies exactly, and no larger."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from fmnist_edge_export.formats.exact_products import FITS, largest_together, neighbours
from fmnist_edge_export.formats.onnx_core import export_core
from fmnist_edge_export.formats.quantise import calibrate, quantise
from fmnist_edge_export.formats.scores import Scores
from fmnist_edge_export.proof.structure import quantisation_problems


def pairs(inputs, window):
    return list(zip(*(part.tolist() for part in neighbours(inputs, window)), strict=True))


def test_two_channels_of_a_place_meet():
    assert pairs(inputs=2, window=3) == [(0, 3), (1, 4), (2, 5)]


def test_an_odd_channel_meets_the_first_of_the_next_place():
    assert pairs(inputs=3, window=2) == [(0, 2), (4, 1), (3, 5)]


def test_of_one_channel_each_place_may_meet_the_next():
    assert pairs(inputs=1, window=4) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize(
    ("kernel", "largest"),
    [([3, -5, 1, 1], 5), ([3, 4, 1, 1], 7), ([-3, -4, 6, 0], 7), ([1, 4, 4, 1], 5), ([0, 0, 0, 0], 0)],
)
def test_two_of_one_sign_count_together(kernel, largest):
    assert largest_together(np.array([kernel], np.float32), inputs=4) == [largest]


def test_a_kernel_of_one_weight_meets_nothing():
    assert largest_together(np.array([[-2.0]]), inputs=1) == [2]


def test_rounded_weights_fit_into_16_bits_with_the_largest_inputs():
    kernels = np.random.default_rng(0).normal(size=(5000, 6 * 9))
    steps = np.round(kernels / largest_together(kernels, 6)[:, None] * 127)
    first, second = neighbours(6, 9)
    sums = 255 * (steps[:, first] + steps[:, second])
    assert 31_000 < np.abs(sums).max() <= np.iinfo(np.int16).max


NETS = {
    "pooled first layer": [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU()],
    "first layer alone": [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 5, 5, stride=2), nn.ReLU()],
    "groups": [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU()],
    "dense": [nn.Flatten(), nn.Linear(784, 16), nn.ReLU()],
}


@pytest.fixture(scope="module", params=NETS)
def quantised(request, sample):
    """An int8 core of heavy kernels, all of one sign in the first outputs, and its ranges."""
    torch.manual_seed(0)
    net = nn.Sequential(*NETS[request.param], nn.Flatten(), nn.LazyLinear(3)).eval()
    net(torch.zeros(2, 1, 28, 28))
    with torch.no_grad():
        for layer in net[:-1]:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight[0] = layer.weight[0].abs()
                layer.weight[1] = -layer.weight[1].abs()
    core = export_core(Scores(net, 0.0, 1.0).eval(), 28, 28)
    ranges = calibrate(core, sample.images[:100])
    return quantise(core, ranges), ranges


def scores(core, images, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(core.SerializeToString(), options)
    pixels = images.astype(np.float32) / 255
    shape = [len(images), *session.get_inputs()[0].shape[1:]]
    grouped = pixels.reshape(len(images), 28, 7, 4).transpose(0, 3, 1, 2) if shape[1] == 4 else pixels.reshape(shape)
    return session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(grouped)})[0]


def test_integers_give_what_their_values_say_on_this_cpu(quantised):
    images = np.random.default_rng(0).integers(128, 256, (50, 28, 28), np.uint8)
    levels = onnxruntime.GraphOptimizationLevel
    expected = scores(quantised[0], images, levels.ORT_DISABLE_ALL)  # computes with what the integers stand for
    answered = scores(quantised[0], images, levels.ORT_ENABLE_ALL)  # computes with integers
    assert np.abs(answered - expected).max() < 0.05 * expected.std()


def test_the_gate_finds_neighbours_that_are_too_large_in_every_layer(quantised):
    core, ranges = quantised
    assert quantisation_problems(core.SerializeToString(), ranges) == []
    kernels = [tensor for tensor in core.graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    kernels = [tensor for tensor in kernels if len(tensor.dims) > 1]
    assert kernels
    for kernel in kernels:
        changed = onnx.ModelProto.FromString(core.SerializeToString())
        tensor = next(tensor for tensor in changed.graph.initializer if tensor.name == kernel.name)
        tensor.CopyFrom(numpy_helper.from_array(np.full(kernel.dims, 70, np.int8), kernel.name))
        (problem,) = quantisation_problems(changed.SerializeToString(), ranges)
        assert problem.endswith(f"neighbours of 140 steps, {FITS} fit")
