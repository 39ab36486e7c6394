import numpy as np
import pytest
import torch

from fmnist_edge_export.strangers import _shuffled, doubt_loss, strangers, turned


@pytest.fixture(scope="module")
def drawn(sample):
    return strangers(sample.images, 24, 0)


def test_pictures_have_the_form_of_the_images_and_show_something(drawn):
    assert drawn.shape == (24, 28, 28)
    assert drawn.dtype == np.uint8
    assert (np.ptp(drawn.reshape(24, -1), axis=1) > 0).all()
    assert len({picture.tobytes() for picture in drawn}) == 24


def test_the_same_seed_draws_the_same_pictures(sample, drawn):
    assert np.array_equal(strangers(sample.images, 4, 0), drawn[:4])
    assert not np.array_equal(strangers(sample.images, 4, 1), drawn[:4])


def test_no_training_image_is_among_them(sample, monkeypatch):
    monkeypatch.setattr("fmnist_edge_export.strangers._KINDS", (_shuffled,))  # the others are not made of them
    garments = {image.tobytes() for image in sample.images}
    assert not garments & {picture.tobytes() for picture in strangers(sample.images, 500, 0)}


def test_doubt_costs_nothing_where_all_labels_have_the_same_chance():
    assert doubt_loss(torch.full((5, 10), 3.0)) == pytest.approx(0, abs=1e-6)
    assert doubt_loss(torch.empty(0, 10)) == 0
    sure, surer = torch.zeros(1, 10), torch.zeros(1, 10)
    sure[0, 3], surer[0, 3] = 2, 4
    assert 0 < doubt_loss(sure) < doubt_loss(surer)


def test_pictures_are_turned_in_all_eight_ways():
    picture = torch.arange(9).reshape(1, 1, 3, 3).repeat(200, 1, 1, 1)
    seen = {tuple(turn.flatten().tolist()) for turn in turned(picture, torch.Generator().manual_seed(0))}
    assert len(seen) == 8
    assert {tuple(sorted(turn)) for turn in seen} == {tuple(range(9))}
