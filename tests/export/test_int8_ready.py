import numpy as np
import pytest
import torch
from torch import nn

from fmnist_edge_export.formats.exact_products import largest_together
from fmnist_edge_export.int8_ready import equalise, input_moments, make_ready_for_int8, round_to_int8
from fmnist_edge_export.models import build


@pytest.fixture
def edge():
    """An untrained net whose channels differ much in range, as those of a trained one do."""
    torch.manual_seed(0)
    net = build("edge").eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.05, 3)
            nn.init.uniform_(layer.bias, 0.1, 1)
    return net


@pytest.fixture
def pixels():
    return torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def stem_ranges(net, pixels):
    return net.stem(pixels).relu().amax(dim=(0, 2, 3))


@torch.no_grad()
def test_evening_out_channels_changes_ranges_but_not_answers(edge, pixels):
    before, answers = stem_ranges(edge, pixels), edge(pixels)
    equalise(edge, pixels)
    after = stem_ranges(edge, pixels)
    torch.testing.assert_close(edge(pixels), answers, rtol=1e-4, atol=1e-4)
    assert after.max() / after.min() < 0.6 * before.max() / before.min()


@torch.no_grad()
def test_a_net_made_ready_has_weights_that_int8_holds_exactly(edge, pixels):
    answers = edge(pixels)
    make_ready_for_int8(edge, pixels)
    for layer in edge.modules():
        if isinstance(layer, nn.Conv2d):
            kernels = layer.weight.flatten(1).numpy()
            steps = kernels / largest_together(kernels, layer.in_channels)[:, None] * 127
            assert np.abs(steps - steps.round()).max() < 1e-3
    difference = (edge(pixels) - answers).abs().max() / answers.std()
    assert 0 < difference < 0.5


@torch.no_grad()
def test_rounding_makes_good_with_one_weight_what_it_took_from_another(edge, pixels):
    layer, moments = list(input_moments(edge, pixels).items())[-1]
    before = layer.weight.clone()
    largest = torch.from_numpy(largest_together(before.flatten(1).numpy(), layer.in_channels))
    step = largest[:, None, None, None] / 127
    nearest = (before / step).round() * step
    round_to_int8(layer, moments)

    def lost(weight):
        change = (weight - before).flatten(1)
        return (change @ moments * change).sum()

    assert lost(layer.weight) < 0.5 * lost(nearest)
    after = torch.from_numpy(largest_together(layer.weight.flatten(1).numpy(), layer.in_channels))
    torch.testing.assert_close(after, largest)


@torch.no_grad()
def test_a_layer_of_an_odd_number_of_channels_is_rounded_as_well():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3)
    before = layer.weight.clone()
    round_to_int8(layer, torch.eye(27))
    assert 0 < (layer.weight - before).abs().max() < 0.02 * before.abs().max()


@torch.no_grad()
def test_channels_that_have_died_become_0_and_answers_stay(edge, pixels):
    for value in (edge.stem.norm.weight, edge.stem.norm.bias):
        value[3] = 1e-20
    answers = edge(pixels)
    equalise(edge, pixels)
    assert edge.stem(pixels)[:, 3].abs().max() == 0
    assert edge.widen1.conv.weight[:, 3].abs().max() == 0
    torch.testing.assert_close(edge(pixels), answers, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_channels_that_are_only_quiet_here_live_on(edge, pixels):
    edge.stem.norm.bias[3] = -100  # nothing in these pixels reaches it
    edge.widen1.norm.weight[5] = edge.widen1.norm.bias[5] = 1e-20  # other layers write this channel as well
    equalise(edge, pixels)
    assert edge.stem.norm.weight[3].abs() > 0
    assert edge.widen2.conv.weight[:, 5].abs().max() > 0
