import pytest
import torch
from torch import nn

from fmnist_edge_export.models import ARCHITECTURES, build
from fmnist_edge_runtime.errors import ModelError


def parameters(name):
    return sum(parameter.numel() for parameter in build(name).parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_batch_gives_ten_scores_an_image(name):
    assert build(name).eval()(torch.rand(3, 1, 28, 28)).shape == (3, 10)


def test_the_classroom_net_is_the_notebooks():
    # 10*(25+1) + 20*(10*9+1) + 500*(2000+1) + 10*(500+1), as the notebook's layers say, with 10 outputs and not 11
    assert parameters("cnn") == 260 + 1820 + 1_000_500 + 5010
    assert parameters("cnn_bn") == parameters("cnn") + 2 * (10 + 20 + 500)


@pytest.mark.parametrize("norm", ["conv1_bn", "conv2_bn", "fc1_bn"])
def test_batch_norm_stands_before_each_of_the_first_three_relus(norm):
    plain, normed = build("cnn"), build("cnn_bn")
    assert sum(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in plain.modules()) == 0
    normed.eval()
    with torch.no_grad():
        getattr(normed, norm).bias.fill_(-1e9)  # before the relu, it silences all that comes before
    blank, noise = torch.zeros(1, 1, 28, 28), torch.rand(1, 1, 28, 28)
    torch.testing.assert_close(normed(blank), normed(noise))


@pytest.mark.parametrize("name", ["cnn", "cnn_bn"])
def test_the_classroom_nets_give_log_probabilities(name):
    sums = build(name).eval()(torch.rand(5, 1, 28, 28)).exp().sum(dim=1)
    torch.testing.assert_close(sums, torch.ones(5))


def test_edge_is_small_and_edge_large_below_a_million():
    assert 100_000 < parameters("edge") < 170_000
    assert 800_000 < parameters("edge_large") < 900_000


@pytest.mark.parametrize("name", ["edge", "edge_large", "teacher_9", "teacher_11", "teacher_15"])
def test_a_factor_on_a_channel_and_its_inverse_change_nothing(name):
    torch.manual_seed(0)
    net = build(name).eval()
    pixels = torch.rand(4, 1, 28, 28)
    before = net(pixels)
    with torch.no_grad():
        for writers, readers in net.channel_groups():
            for writer in writers:
                writer.norm.weight *= 2
                writer.norm.bias *= 2
            for reader in readers:
                reader.weight /= 2
    torch.testing.assert_close(net(pixels), before)


@pytest.mark.parametrize(("name", "convolutions"), [("teacher_9", 9), ("teacher_11", 11), ("teacher_15", 15)])
def test_teachers_are_named_by_their_convolutions(name, convolutions):
    assert sum(isinstance(layer, nn.Conv2d) for layer in build(name).modules()) == convolutions


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ModelError, match="cnn, cnn_bn, edge"):
        build("resnet")
