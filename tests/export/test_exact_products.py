"""Weights are as large as every CPU multiplies exactly, and no larger."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from fmnist_edge_export.formats.exact_products import FITS, largest_together, neighbours, rounded
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


@pytest.fixture(scope="module")
def kernels():
    return np.random.default_rng(0).normal(size=(2000, 6 * 9)).astype(np.float32)


def test_rounded_weights_fit_into_16_bits_with_the_largest_inputs(kernels):
    whole, largest = rounded(kernels, 6)
    steps = whole / largest[:, None] * 127
    assert np.abs(steps - steps.round()).max() < 1e-3
    first, second = neighbours(6, 9)
    sums = 255 * np.abs(steps[:, first] + steps[:, second])
    assert 32_000 < sums.max() <= np.iinfo(np.int16).max, "no larger, and no smaller than need be"


def test_what_rounding_takes_from_weights_it_gives_to_others(kernels):
    whole, largest = rounded(kernels, 6)
    step = largest[:, None] / 127
    nearest = np.round(kernels / step) * step
    lost, lost_by_nearest = (np.abs((change - kernels).sum(axis=1)).mean() for change in (whole, nearest))
    assert lost < 0.6 * lost_by_nearest
    assert np.abs(whole - kernels).max() < 1.5 * step.max()


def test_weights_in_whole_steps_stay_as_they_are():
    kernels = np.array([[127, -5, 0, 3], [100, 27, -127, 9], [0, 0, 0, 0]], np.float32) / 8
    whole, largest = rounded(kernels, 4)
    assert np.array_equal(whole, kernels)
    assert largest.tolist() == [127 / 8, 127 / 8, 0]


class Product(nn.Module):
    """A matrix product of whatever is made of its weights and the pixels."""

    def __init__(self, shape, product):
        super().__init__()
        self.weights, self.product = nn.Parameter(torch.randn(shape).abs()), product

    def forward(self, x):
        return self.product(x, self.weights).relu()


NETS = {
    "pooled first layer": [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU()],
    "first layer alone": [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 5, 5, stride=2), nn.ReLU()],
    "groups": [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU()],
    "dense": [nn.Flatten(), nn.Linear(784, 16), nn.ReLU()],
    "matrix": [nn.Flatten(), Product((784, 16), lambda x, w: x @ w)],
}
NOT_ALL_IN_INT8 = {
    "vector": Product((28,), lambda x, w: x @ w),
    "stack": Product((2, 28, 8), lambda x, w: x.expand(-1, 2, -1, -1) @ w),
    "one matrix in two ways": Product((28, 28), lambda x, w: (x @ w) @ w.T),
    "weights on the left": Product((28, 28), lambda x, w: w @ x),
    "weights of the last layer": Product((28, 28), lambda x, w: x @ w * w.sum()),
    "computed weights": Product((28, 28), lambda x, w: x @ (w * (x.mean((0, 2, 3)) > -1))),
}


def int8_of(sample, *layers):
    """An int8 core of heavy kernels, all of one sign in the first outputs, and its ranges."""
    torch.manual_seed(0)
    net = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3)).eval()
    net(torch.zeros(2, 1, 28, 28))
    with torch.no_grad():
        for layer in net[:-1]:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight[0] = layer.weight[0].abs()
                layer.weight[1:2] = -layer.weight[1:2].abs()
    core = export_core(Scores(net, 0.0, 1.0).eval(), 28, 28)
    ranges = calibrate(core, sample.images[:100])
    return quantise(core, ranges), ranges


@pytest.fixture(scope="module", params=NETS)
def quantised(request, sample):
    return int8_of(sample, *NETS[request.param])


def scores(core, images, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(core.SerializeToString(), options)
    pixels = images.astype(np.float32) / 255
    shape = [len(images), *session.get_inputs()[0].shape[1:]]
    grouped = pixels.reshape(len(images), 28, 7, 4).transpose(0, 3, 1, 2) if shape[1] == 4 else pixels.reshape(shape)
    return session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(grouped)})[0]


def assert_computes_what_integers_stand_for(core):
    images = np.random.default_rng(0).integers(128, 256, (50, 28, 28), np.uint8)
    levels = onnxruntime.GraphOptimizationLevel
    expected = scores(core, images, levels.ORT_DISABLE_ALL)  # computes with what the integers stand for
    answered = scores(core, images, levels.ORT_ENABLE_ALL)  # computes with integers
    assert np.abs(answered - expected).max() < 0.05 * expected.std()


def test_integers_give_what_they_stand_for_on_this_cpu(quantised):
    assert_computes_what_integers_stand_for(quantised[0])


@pytest.mark.parametrize("name", NOT_ALL_IN_INT8)
def test_products_whose_neighbours_are_not_known_stay_float_or_are_exact(name, sample):
    first = nn.Conv2d(1, 1, 3, padding=1), nn.ReLU()  # in int8 whatever comes after it
    core, ranges = int8_of(sample, *first, NOT_ALL_IN_INT8[name])
    assert quantisation_problems(core.SerializeToString(), ranges) == []
    assert_computes_what_integers_stand_for(core)


def test_the_gate_lets_two_neighbours_have_what_16_bits_hold(quantised):
    assert [len(too_large(quantised, steps)) for steps in (64, 65)] == [0, 1]


def too_large(quantised, steps):
    """What the gate says where every weight of the first layer has so many steps."""
    core, ranges = quantised
    changed = onnx.ModelProto.FromString(core.SerializeToString())
    tensor = next(x for x in changed.graph.initializer if x.data_type == onnx.TensorProto.INT8 and len(x.dims) > 1)
    tensor.CopyFrom(numpy_helper.from_array(np.full(tensor.dims, steps, np.int8), tensor.name))
    return quantisation_problems(changed.SerializeToString(), ranges)


def test_the_gate_takes_no_int8_weights_that_it_cannot_place(quantised):
    core, ranges = quantised
    changed = onnx.ModelProto.FromString(core.SerializeToString())
    changed.graph.initializer.append(numpy_helper.from_array(np.zeros((2, 2), np.int8), "stray"))
    assert quantisation_problems(changed.SerializeToString(), ranges) == ["stray: int8, and not the weights of a layer"]


def test_the_gate_takes_no_weights_in_uint8(quantised):
    core, ranges = quantised
    changed = onnx.ModelProto.FromString(core.SerializeToString())
    tensor = next(x for x in changed.graph.initializer if x.data_type == onnx.TensorProto.INT8 and len(x.dims) > 1)
    tensor.CopyFrom(numpy_helper.from_array(np.full(tensor.dims, 200, np.uint8), tensor.name))
    assert f"{tensor.name}: weights in uint8, not in int8" in quantisation_problems(changed.SerializeToString(), ranges)


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
