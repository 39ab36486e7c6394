import pytest
import torch

from fmnist_edge_export.prune import chosen_images

EASY, HARD = 8000, 2000
LOSSES = torch.cat([torch.full((EASY,), 0.1), torch.full((HARD,), 2.0)])


def choose(losses, share, done):
    return chosen_images(losses, share, done, torch.Generator().manual_seed(0))


def test_a_share_of_the_easy_images_is_skipped_and_no_other():
    chosen, _ = choose(LOSSES, 0.5, 0.3)
    assert len(set(chosen.tolist())) == len(chosen)
    assert (chosen >= EASY).sum() == HARD
    assert (chosen < EASY).sum() == pytest.approx(EASY / 2, rel=0.05)


def test_the_expected_gradient_stays():
    chosen, weights = choose(LOSSES, 0.5, 0.3)
    assert (LOSSES * weights)[chosen].sum() == pytest.approx(LOSSES.sum().item(), rel=0.02)


def test_images_come_in_random_order():
    chosen, _ = choose(LOSSES, 0.0, 0.3)
    assert not torch.equal(chosen, chosen.sort().values)


@pytest.mark.parametrize(
    ("losses", "share", "done"),
    [(LOSSES, 0.0, 0.3), (LOSSES, 0.5, 0.95), (torch.full((100,), torch.inf), 0.5, 0.0)],
    ids=["not asked for", "near the end", "before every image was seen"],
)
def test_nothing_is_skipped(losses, share, done):
    chosen, weights = choose(losses, share, done)
    assert sorted(chosen.tolist()) == list(range(len(losses)))
    assert (weights == 1).all()
