"""Pictures in Fashion-MNIST's form are left alone; from all others the article is cut out."""

import numpy as np
import pytest
from PIL import Image

from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.cutout import cut_out, to_lab
from fmnist_edge_runtime.fmnist_form import is_fmnist_form
from fmnist_edge_runtime.photo import view_of_photo
from fmnist_edge_runtime.reader import read_picture


def enlarged(image, factor):
    return Image.fromarray(image.repeat(factor, 0).repeat(factor, 1))


@pytest.mark.parametrize("factor", [1, 2, 3, 10])
def test_fashion_mnist_itself_is_left_alone_at_every_enlargement(sample, factor):
    for image in sample.images if factor == 1 else sample.images[::10]:
        reading = read_picture(enlarged(image, factor), 28, 28)
        assert reading.read_as == "fmnist"
        assert reading.found
        assert np.array_equal(reading.pixels, image)


def test_what_is_dark_on_white_is_not_in_that_form(sample):
    assert not any(is_fmnist_form(Image.fromarray(255 - image), 28, 28) for image in sample.images)


def test_neither_is_colour_nor_another_size_nor_an_enlargement_that_is_not_exact(sample):
    image = sample.images[0]
    grey = Image.fromarray(image)
    tinted = np.stack([image, image // 2, image], -1)
    assert is_fmnist_form(grey.convert("RGB"), 28, 28)
    assert is_fmnist_form(grey.convert("RGBA"), 28, 28)
    assert not is_fmnist_form(Image.fromarray(tinted), 28, 28)
    assert not is_fmnist_form(grey.resize((56, 56), Image.Resampling.BILINEAR), 28, 28)
    assert not is_fmnist_form(grey.resize((56, 28), Image.Resampling.NEAREST), 28, 28)
    assert not is_fmnist_form(grey.crop((0, 0, 27, 28)), 28, 28)
    grey.putalpha(Image.fromarray(image))
    assert not is_fmnist_form(grey, 28, 28)


def counted(dark, light):
    """A picture with so many pixels that are just nearly black, and just nearly white; the others are just neither."""
    pixels = np.full(784, 4, np.uint8)
    pixels[:dark], pixels[dark : dark + light] = 3, 252
    pixels[784 - 50 :] = 251
    return pixels.reshape(28, 28)


@pytest.mark.parametrize("way", ["auto", "fmnist", "photo"])
def test_arrays_and_greys_of_the_networks_size_are_read_as_all_other_pictures_are(sample, way):
    pictures = [*sample.images[:6], *(255 - sample.images[:6]), *(image.T for image in sample.images[:3])]
    pictures += [counted(300, 300), counted(301, 300), counted(300, 301), counted(0, 0), counted(1, 0), counted(0, 1)]
    told = set()
    for pixels in pictures:
        longer = read_picture(Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB"), 28, 28, way)
        for shorter in (pixels, Image.fromarray(np.ascontiguousarray(pixels))):
            reading = read_picture(shorter, 28, 28, way)
            assert (reading.read_as, reading.found) == (longer.read_as, longer.found)
            assert np.array_equal(reading.pixels, longer.pixels)
        told.add(longer.read_as)
    assert told == ({"fmnist", "photo"} if way == "auto" else {way})


def product_picture(image, size, ground, tint):
    """A dark article on a plain light ground, as shops show it."""
    shade = 1 - np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC), np.float32) / 255
    frame = np.full((size + size // 3, size + size // 4, 3), ground, np.float32)
    frame[size // 6 : size // 6 + size, size // 8 : size // 8 + size] = shade[..., None] * ground
    frame[..., 1] *= np.where(frame[..., 1] < 0.97 * ground, tint, 1)
    return Image.fromarray(frame.round().astype(np.uint8))


@pytest.fixture(scope="module")
def classifier():
    with Classifier() as made:
        yield made


@pytest.mark.parametrize(("size", "ground", "tint"), [(56, 255, 1.0), (200, 255, 0.6), (300, 200, 0.8)])
def test_most_product_pictures_come_out_right(classifier, sample, size, ground, tint):
    pictures = [product_picture(image, size, ground, tint) for image in sample.images[::5]]
    answers = list(classifier.predict_many(pictures))
    assert {answer.read_as for answer in answers} == {"photo"}
    right = np.mean([answer.index == label for answer, label in zip(answers, sample.labels[::5], strict=True)])
    assert right > 0.7


def test_the_article_is_found_on_a_ground_that_changes():
    down, across = np.mgrid[0:60, 0:45]
    colours = np.stack([150 + down, 140 + across, np.full_like(down, 120)], -1).astype(np.uint8)
    colours += np.random.default_rng(0).integers(0, 20, colours.shape, np.uint8)
    article = (abs(down - 30) < 20) & (abs(across - 22) < 12)
    colours[article] = [40, 60, 140]
    assert (cut_out(colours) == article).mean() > 0.97


def test_the_article_is_light_on_black_and_fills_the_frame():
    picture = np.full((120, 90, 3), 240, np.uint8)
    picture[30:90, 30:60] = 60
    picture[30:90, 30:45] = 20
    view, mask = view_of_photo(Image.fromarray(picture), 28, 28)
    assert mask.mean() == pytest.approx(1 / 6, abs=0.02)
    rows, columns = np.nonzero(view.any(1))[0], np.nonzero(view.any(0))[0]
    assert (rows[0], rows[-1]) == (0, 27)
    assert (columns[0], columns[-1]) == (7, 20)
    assert view[14, 9] > view[14, 18] > 30


def test_transparency_is_the_mask_where_there_is_any():
    colours = np.random.default_rng(0).integers(0, 256, (56, 56, 4), np.uint8)
    colours[..., 3] = 0
    colours[10:50, 20:40, 3] = 255
    view, _ = view_of_photo(Image.fromarray(colours), 28, 28)
    assert (view > 0).sum() == 28 * 14
    opaque = colours.copy()
    opaque[..., 3] = 255
    assert np.array_equal(
        view_of_photo(Image.fromarray(opaque), 28, 28)[0], view_of_photo(Image.fromarray(opaque[..., :3]), 28, 28)[0]
    )


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (300, 200), "white"),
        Image.new("L", (28, 28), 128),
        Image.new("RGB", (1, 1), "red"),
        Image.linear_gradient("L").resize((1, 10000)),
        Image.linear_gradient("L").resize((10000, 1)),
        Image.new("RGBA", (300, 200), (200, 20, 20, 0)),
        Image.new("I;16", (40, 40), 30000),
    ],
    ids=["white", "grey", "one pixel", "a column", "a row", "transparent", "16 bits"],
)
def test_where_nothing_is_to_be_seen_nothing_is_known(classifier, picture):
    answer = classifier.predict(picture)
    assert answer.read_as == "photo"
    assert not answer.known


def test_what_was_seen_can_be_shown(classifier):
    picture = np.full((120, 90, 3), 240, np.uint8)
    picture[30:90, 30:60] = 60
    answer, sheet = classifier.explain(Image.fromarray(picture))
    assert answer == classifier.predict(Image.fromarray(picture))
    colours = np.asarray(sheet)
    outline = (colours == (255, 0, 200)).all(-1)
    rows, columns = np.nonzero(outline.any(1))[0], np.nonzero(outline.any(0))[0]
    assert rows[-1] - rows[0] == pytest.approx(140, abs=8)  # half of the panel's height
    assert columns[-1] - columns[0] == pytest.approx(70, abs=8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_picture_can_be_shown(classifier, mode):
    picture = Image.linear_gradient("L")
    picture = Image.new(mode, (40, 40), 30000) if mode == "I;16" else picture.convert("RGB").convert(mode)
    assert classifier.explain(picture)[1].size == (904, 336)


def test_a_way_of_reading_that_is_none_is_refused():
    with pytest.raises(ValueError, match="read_as='guess': one of auto, photo, fmnist"):
        read_picture(Image.new("L", (28, 28)), 28, 28, "guess")


@pytest.mark.parametrize(
    ("colour", "lab"),
    [((255, 255, 255), (100, 0, 0)), ((0, 0, 0), (0, 0, 0)), ((255, 0, 0), (53.24, 80.09, 67.20))],
)
def test_colours_have_their_published_lab_values(colour, lab):
    assert np.allclose(to_lab(np.array(colour, np.uint8)), lab, atol=0.05)
