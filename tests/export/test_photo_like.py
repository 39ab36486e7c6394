import numpy as np
import pytest
import torch

from fmnist_edge_export.photo_like import photo_like


@pytest.fixture(scope="module")
def images(sample):
    return torch.from_numpy(sample.images[:300].copy()).unsqueeze(1).float() / 255


def changed(images, seed=0):
    return photo_like(images, torch.Generator().manual_seed(seed))


def test_images_keep_their_shape_and_range_and_the_ground_stays_black(images):
    seen = changed(images)
    assert seen.shape == images.shape
    assert seen.min() == 0
    assert seen.max() <= 1
    assert (seen == 0).flatten(1).any(1).float().mean() > 0.9


def test_the_same_draws_give_the_same_images_and_others_other_ones(images):
    assert torch.equal(changed(images), changed(images))
    assert not torch.equal(changed(images), changed(images, 1))


def test_an_article_stays_where_it_was_for_the_most_part(images):
    before, after = images[:, 0] > 0.02, changed(images)[:, 0] > 0
    overlap = (before & after).sum((1, 2)) / (before | after).sum((1, 2))
    assert 0.5 < overlap.median() < 0.95


def test_the_longest_side_fills_the_frame(images):
    small = torch.zeros_like(images)
    small[:, :, 9:19, 9:19] = images[:, :, 9:19, 9:19].clamp(min=0.5)
    rows = (changed(small)[:, 0] > 0).any(2).sum(1)
    columns = (changed(small)[:, 0] > 0).any(1).sum(1)
    assert torch.maximum(rows, columns).float().median() >= 26


def test_greys_change_and_what_is_darker_stays_darker(images):
    halves = torch.zeros_like(images)
    halves[:, :, 4:24, 4:14], halves[:, :, 4:24, 14:24] = 0.4, 0.7
    seen = changed(halves)
    left, right = seen[:, 0, 8:20, 6:12].mean((1, 2)), seen[:, 0, 8:20, 16:22].mean((1, 2))
    assert (left < right).float().mean() > 0.95
    assert left.std() > 0.05
    assert (right - left).std() > 0.05


def test_a_black_image_is_no_error():
    assert np.isfinite(changed(torch.zeros(3, 1, 28, 28)).numpy()).all()
