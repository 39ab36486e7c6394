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


def test_batch_norm_stands_before_each_of_the_first_three_relus():
    plain, normed = build("cnn"), build("cnn_bn")
    assert sum(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in plain.modules()) == 0
    normed.eval()
    with torch.no_grad():
        normed.conv1_bn.bias.fill_(-1e9)  # before the relu, it silences conv1 altogether
    blank, noise = torch.zeros(1, 1, 28, 28), torch.rand(1, 1, 28, 28)
    torch.testing.assert_close(normed(blank), normed(noise))


@pytest.mark.parametrize("name", ["cnn", "cnn_bn"])
def test_the_classroom_nets_give_log_probabilities(name):
    sums = build(name).eval()(torch.rand(5, 1, 28, 28)).exp().sum(dim=1)
    torch.testing.assert_close(sums, torch.ones(5))


def test_edge_is_small():
    assert 100_000 < parameters("edge") < 130_000


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ModelError, match="cnn, cnn_bn, edge"):
        build("resnet")
