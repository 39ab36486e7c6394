import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fmnist_edge_export import card_pictures
from fmnist_edge_export.card import PICTURES, Answers, write_card
from fmnist_edge_export.data import LABELS
from fmnist_edge_export.record import load_model

MEASURED = {
    "dlogit_max": 1e-6, "flips": [], "images": 1000, "accuracy": {"file": 0.9, "nll": 0.2, "ece": 0.01},
    "decided_on": "the sample",
}  # fmt: skip
ENTRIES = {"onnx": {"file": "cnn.onnx", "measured": MEASURED}}


@pytest.fixture
def answers(sample):
    """A model that is sure, and wrong about every tenth image."""
    said = np.where(np.arange(1000) % 10 == 0, (sample.labels + 1) % 10, sample.labels)
    probabilities = np.full((1000, 10), 0.01, np.float32)
    probabilities[np.arange(1000), said] = 0.91
    return Answers("cnn.onnx", "the sample", sample.images, sample.labels, probabilities)


@pytest.fixture(scope="module")
def record(root):
    return load_model(root / "artifacts/cnn/cnn.safetensors")[1]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_a_card_shows_its_pictures(record, answers, tmp_path):
    write_card(tmp_path, record, ENTRIES, answers)
    text = (tmp_path / "README.md").read_text()
    for name in PICTURES:
        assert f"]({name})" in text
        assert pixels((tmp_path / name).read_bytes()).std() > 5


@pytest.mark.parametrize("letter", ["w", "長"])
def test_long_labels_leave_room_for_the_picture(answers, letter):
    names = tuple(f"{letter * 20}{number}{letter * 70}" for number in range(10))
    # Where they leave none, matplotlib warns, which is an error here.
    assert card_pictures.confusion_png("x", names, answers.probabilities, answers.labels)


def test_labels_that_a_terminal_acts_upon_are_drawn_as_they_are_written(answers):
    odd, escaped = ("\u202e", "a\nb", *"cdefghij"), (r"\u202e", r"a\nb", *"cdefghij")
    drawn = [
        card_pictures.mistakes_png("x", names, answers.images, answers.probabilities, answers.labels)
        for names in (odd, escaped)
    ]
    assert drawn[0] == drawn[1]


def test_a_card_says_what_anything_else_is_taken_for(record, tmp_path):
    said = []
    for recipe in (record.recipe, record.recipe | {"strangers": 4}):
        write_card(tmp_path, replace(record, recipe=recipe), ENTRIES, None)
        said.append((tmp_path / "README.md").read_text())
    assert "a probability that means little" in said[0]
    assert "taught on generated pictures to doubt it" in said[1]


def test_labels_and_licence_read_as_they_are_written(record, tmp_path):
    labels = ("*top*", "a|b", "two\nlines", "<b>", *LABELS[4:])
    write_card(tmp_path, replace(record, labels=labels, licence="MIT | or_other"), ENTRIES, None)
    text = (tmp_path / "README.md").read_text()
    assert r"10 labels: \*top\*, a\|b, two\\nlines, \<b\>, Coat," in text
    assert r"| licence | MIT \| or\_other |" in text


def test_without_labelled_images_there_are_no_pictures_of_answers(record, tmp_path):
    write_card(tmp_path, record, ENTRIES, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "curve.png"]
    assert "confusion" not in (tmp_path / "README.md").read_text()


def test_the_contact_sheet_shows_wrong_answers_only(answers):
    def sheet(images):
        return card_pictures.mistakes_png("x", LABELS, images, answers.probabilities, answers.labels)

    wrong = answers.probabilities.argmax(axis=1) != answers.labels
    without_right, without_wrong = answers.images.copy(), answers.images.copy()
    without_right[~wrong] = 0
    without_wrong[wrong] = 0
    assert np.array_equal(pixels(sheet(answers.images)), pixels(sheet(without_right)))
    assert not np.array_equal(pixels(sheet(answers.images)), pixels(sheet(without_wrong)))


def test_of_many_labels_no_names_cover_one_another(answers):
    names = [f"{kind} {n}" for kind in ("a", "another") for n in range(100)]
    chances = np.eye(100, dtype=np.float32)[answers.labels]
    one, other = (card_pictures.confusion_png("x", of, chances, answers.labels) for of in (names[:100], names[100:]))
    assert one == other


def test_labels_in_letters_that_the_font_has_not_are_no_warning(answers):
    names = tuple(chr(0x5916 + n) for n in range(10))
    assert card_pictures.confusion_png("x", names, answers.probabilities, answers.labels)


def test_a_model_without_mistakes_still_has_a_card(answers):
    right = np.eye(10, dtype=np.float32)[answers.labels]
    assert card_pictures.mistakes_png("x", LABELS, answers.images, right, answers.labels)
    assert card_pictures.reliability_png("x", right, answers.labels)
    assert card_pictures.confusion_png("x", LABELS, right, answers.labels)
