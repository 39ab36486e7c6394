import pytest
import torch
from torch import nn

from fmnist_edge_export.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(16, 9), (32, 144), (64, 288)])
def test_singular_values_come_near_to_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before, after = (torch.linalg.svdvals(m) for m in (matrix, orthogonalised(matrix)))
    assert before.max() / before.min() > 1.5
    assert after.min() > 0.6
    assert after.max() < 1.3


def test_a_step_turns_the_weight_by_the_rate_and_keeps_its_norm():
    weight = nn.Parameter(torch.randn(32, 16, 3, 3, generator=torch.Generator().manual_seed(0)))
    weight.grad = torch.randn(32, 16, 3, 3, generator=torch.Generator().manual_seed(1))
    optimizer = Muon([weight], lr=0.1, momentum=0.9)
    optimizer.step()
    before = weight.detach().clone()
    optimizer.step()
    after = weight.detach()
    angle = torch.acos(nn.functional.cosine_similarity(before.flatten(), after.flatten(), dim=0))
    assert after.norm() == pytest.approx(32**0.5, rel=0.1)
    assert angle == pytest.approx(0.1, rel=0.1)


def test_a_weight_without_a_gradient_keeps_its_direction():
    weight = nn.Parameter(torch.randn(32, 16, 3, 3, generator=torch.Generator().manual_seed(0)))
    before = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    Muon([weight], lr=0.1, momentum=0.9).step()
    assert torch.allclose(weight / weight.norm(), before / before.norm())


def test_it_descends():
    torch.manual_seed(0)
    net, target = nn.Conv2d(8, 8, 3, bias=False), torch.randn(8, 8, 3, 3)
    optimizer = Muon(net.parameters(), lr=0.1, momentum=0.9)

    def likeness():
        return nn.functional.cosine_similarity(net.weight.flatten(), target.flatten(), dim=0)

    before = likeness()
    for _ in range(30):
        net.zero_grad()
        (-likeness()).backward()
        optimizer.step()
    assert before < 0.2
    assert likeness() > 0.7
