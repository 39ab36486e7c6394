"""Pictures in Fashion-MNIST's form are left alone; from all others the article is cut out."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fmnist_edge_runtime.colours import Mixture, Palette, to_lab
from fmnist_edge_runtime.cutout import cut_out
from fmnist_edge_runtime.fmnist_form import is_fmnist_form
from fmnist_edge_runtime.photo import find_article, weighed
from fmnist_edge_runtime.pose import slant, turned
from fmnist_edge_runtime.prediction import Prediction
from fmnist_edge_runtime.reader import Reading, read_picture
from fmnist_edge_runtime.sight import draw_sight


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
        masked = np.ma.array(pixels, mask=pixels < 4)  # its bytes are others than its data
        for shorter in (pixels, masked, Image.fromarray(np.ascontiguousarray(pixels))):
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
    assert (cut_out(to_lab(colours)) == article).mean() > 0.97


def test_the_article_is_light_on_black_and_fills_the_frame():
    picture = np.full((120, 90, 3), 240, np.uint8)
    picture[30:90, 30:60] = 60
    picture[30:90, 30:45] = 20
    article = find_article(Image.fromarray(picture), 28, 28)
    view, mask = article.views[0], article.mask
    assert mask.mean() == pytest.approx(1 / 6, abs=0.02)
    rows, columns = np.nonzero(view.any(1))[0], np.nonzero(view.any(0))[0]
    assert (rows[0], rows[-1]) == (0, 27)
    assert (columns[0], columns[-1]) == (7, 20)
    assert view[14, 9] > view[14, 18] > 30


def test_transparency_is_the_mask_where_there_is_any():
    colours = np.random.default_rng(0).integers(0, 256, (56, 56, 4), np.uint8)
    colours[..., 3] = 0
    colours[10:50, 20:40, 3] = 255
    article = find_article(Image.fromarray(colours), 28, 28)
    assert article.clear
    assert (article.views[0] > 0).sum() == 28 * 14
    opaque = colours.copy()
    opaque[..., 3] = 255
    with_alpha, without = (find_article(Image.fromarray(colours), 28, 28) for colours in (opaque, opaque[..., :3]))
    assert np.array_equal(with_alpha.views, without.views)


def laid_out(slant=0):
    """A picture 160 x 160 of a dark top with arms to the sides, turned clockwise, and where it is."""
    article = Image.new("L", (160, 160))
    ImageDraw.Draw(article).polygon(
        [(15, 40), (145, 40), (145, 62), (105, 62), (105, 125), (55, 125), (55, 62), (15, 62)], 255
    )
    article = article.rotate(-slant)
    picture = Image.new("RGB", article.size, (225, 215, 205))
    picture.paste((60, 40, 90), mask=article)
    return picture, np.asarray(article) > 127


def box(view):
    rows, columns = np.nonzero(view.any(1))[0], np.nonzero(view.any(0))[0]
    return rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1


def test_arms_that_are_spread_are_also_seen_hanging():
    views = find_article(laid_out()[0], 28, 28).views
    (high, wide), (folded_high, folded_wide) = box(views[0]), box(views[1])
    assert (high, wide) == (18, 28)
    assert (folded_high, folded_wide) == (28, 24)
    body = [(view[-4] > 0).sum() / box(view)[1] for view in (views[0, :23], views[1])]
    assert body[1] > 1.2 * body[0]  # arms get narrower than the body does


def test_what_has_no_arms_to_fold_is_seen_no_view_twice():
    picture = Image.new("RGB", (160, 160), (225, 215, 205))
    ImageDraw.Draw(picture).polygon([(60, 15), (95, 15), (112, 145), (50, 145)], (60, 40, 90))
    views = find_article(picture, 28, 28).views
    assert len(views) == 6
    assert len({view.tobytes() for view in views}) == 6
    assert len(find_article(laid_out()[0], 28, 28).views) == 12


def test_what_lies_askew_is_put_upright():
    straight, askew = (find_article(laid_out(degrees)[0], 28, 28).views[0] for degrees in (0, 15))
    assert ((straight > 0) == (askew > 0)).mean() > 0.93
    untouched = np.asarray(laid_out(15)[0].convert("L")) < 128
    assert slant(untouched[::4, ::4]) == 15
    assert slant(laid_out(0)[1][::4, ::4]) == 0


def test_it_is_also_seen_a_little_askew_to_either_side():
    views = find_article(laid_out()[0], 28, 28).views
    straight, left, right = (slant(views[index] > 0) for index in (0, 2, 4))
    assert (straight, left, right) == (0, -5, 5)


def test_nothing_vanishes_in_turning():
    for place in range(81):
        speck = np.arange(81).reshape(9, 9) == place
        picture, mask = turned(np.where(speck, np.float32(200), 0), speck, 30)
        assert mask.any()
        assert picture[mask].min() > 90


def test_each_view_is_seen_mirrored_too():
    views = find_article(laid_out(10)[0], 28, 28).views
    assert np.array_equal(views[len(views) // 2 :], views[: len(views) // 2, :, ::-1])


def test_the_answer_is_the_mean_over_the_views_in_which_bags_count_for_less(classifier):
    picture = laid_out()[0]
    views = read_picture(picture, 28, 28).views
    expected = classifier.probabilities(views).mean(0) * np.where(np.array(classifier.labels) == "Bag", 0.6, 1)
    expected /= expected.sum()
    assert np.ptp(classifier.probabilities(views), 0).max() > 0.01
    assert np.allclose(classifier.predict(picture).probabilities, expected, atol=1e-6)
    grey = Image.fromarray(views[1])
    mixed = list(classifier.predict_many([picture, grey, picture]))
    assert mixed == [classifier.predict(picture), classifier.predict(grey), classifier.predict(picture)]
    assert mixed[1].probabilities == tuple(classifier.probabilities(views[1:2])[0].tolist())


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0.5, 0.0, 0.5], [0.625, 0.0, 0.375]),  # the others gain what is taken from Bag
        ([0.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
        ([0.25, 0.75, 0.0], [0.25, 0.75, 0.0]),
    ],
)
def test_in_photographs_bags_count_for_less(classifier, row, expected):
    labels = classifier.labels
    coat, shirt, bag = (labels.index(name) for name in ("Coat", "Shirt", "Bag"))
    chances = [0.0] * len(labels)
    chances[coat], chances[shirt], chances[bag] = row
    found = weighed(chances, labels)
    assert [found[coat], found[shirt], found[bag]] == pytest.approx(expected)


def test_of_other_labels_nothing_is_known():
    assert weighed([0.4, 0.6], ("Coat", "Bag")) == [0.4, 0.6]


def test_in_fashion_mnist_form_bags_count_in_full(classifier, sample):
    bag = sample.images[sample.labels == list(classifier.labels).index("Bag")][0]
    assert classifier.predict(bag).probabilities == tuple(classifier.probabilities(bag[None])[0].tolist())


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


def test_what_is_cut_out_of_noise_or_of_a_gradient_is_not_known(classifier):
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 90)[None, :, None] * rng.integers(60, 255, (20, 1, 1, 3)) * np.ones((1, 120, 1, 1))
    unclear = [*rng.integers(0, 256, (20, 120, 90, 3), np.uint8), *ramp.astype(np.uint8)]
    answers = list(classifier.predict_many(unclear))
    assert np.mean([answer.known for answer in answers]) < 0.1
    picture, _ = laid_out()
    noise = rng.integers(-10, 11, (160, 160, 3))
    grainy = Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))
    assert read_picture(picture, 28, 28).found
    assert read_picture(grainy, 28, 28).found


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


def test_a_view_larger_than_its_panel_is_shrunk():
    reading = Reading(np.full((1, 512, 300), 7, np.uint8), "fmnist", found=True)
    answer = Prediction("bag", 0, 1.0, True, (1.0, 0.0), ("bag", "boot"), "fmnist")
    sheet = np.asarray(draw_sight(Image.new("L", (300, 512), 255), reading, answer))
    assert sheet.shape == (336, 904, 3)
    rows, columns = np.nonzero((sheet == 7).all(2))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (280, 164)


@pytest.mark.parametrize("label", [3 * "long and longer ", "two\nlines", 1_100_000 * "x"])
def test_a_label_stays_beside_its_probability(label):
    reading = Reading(np.zeros((1, 28, 28), np.uint8), "fmnist", found=True)
    drawn = []
    for shown in (label, "bag"):
        answer = Prediction(shown, 0, 1.0, True, (1.0,), (shown,), "fmnist")
        drawn.append(np.asarray(draw_sight(Image.new("L", (28, 28)), reading, answer)))
    rows, columns = np.nonzero((drawn[0] != drawn[1]).any(2))
    assert 40 <= rows.min() <= rows.max() < 72, "above its bar"
    assert 600 < columns.min() <= columns.max() < 888, "and on the sheet"


def test_a_way_of_reading_that_is_none_is_refused():
    with pytest.raises(ValueError, match="read_as='guess': one of auto, photo, fmnist"):
        read_picture(Image.new("L", (28, 28)), 28, 28, "guess")


@pytest.mark.parametrize(
    ("colour", "lab"),
    [((255, 255, 255), (100, 0, 0)), ((0, 0, 0), (0, 0, 0)), ((255, 0, 0), (53.24, 80.09, 67.20))],
)
def test_colours_have_their_published_lab_values(colour, lab):
    assert np.allclose(to_lab(np.array(colour, np.uint8)), lab, atol=0.05)


def test_a_palette_gathers_like_colours_and_gives_each_pixel_its_own_back():
    lab = np.array([[[10, 0, 0], [11, 0, 0], [50, 20, -30]]], np.float32)
    palette = Palette(lab)
    assert sorted(palette.colours[:, 0].tolist()) == [10.5, 50]
    weights = palette.gather(np.array([[1, 2, 4]], np.float32))
    assert palette.spread(weights).tolist() == [[3, 3, 4]]


def test_a_mixture_finds_the_colours_that_weigh():
    rng = np.random.default_rng(0)
    means = np.array([[20, 0, 0], [60, 40, 0], [90, -40, 30]], np.float32)
    colours = np.concatenate([mean + rng.normal(0, 3, (100, 3)) for mean in means]).astype(np.float32)
    weights = np.repeat(np.array([1, 3, 0], np.float32), 100)
    mixture = Mixture.fit(colours, weights, 2)
    order = np.argsort(mixture.means[:, 0])
    assert np.allclose(mixture.means[order], means[:2], atol=1)
    assert np.allclose(np.exp(mixture.logs[order]), [0.25, 0.75], atol=0.02)
    elsewhere = mixture.refit(colours, weights[::-1].copy())
    assert np.allclose(elsewhere.means[np.argsort(elsewhere.means[:, 0])], means[1:], atol=1)
