import io

import numpy as np
import pytest
from PIL import Image

from fmnist_edge_export.data import Dataset
from fmnist_edge_export.evaluate import evaluate
from fmnist_edge_runtime.errors import ModelError


def test_a_measurement_agrees_with_itself(classifier, sample):
    heard = []
    result = evaluate(classifier, sample, heard.append)
    confusion = np.array(result.confusion)
    assert sum(heard) == result.images == confusion.sum() == 1000
    assert confusion.sum(axis=1).tolist() == [100] * 10
    assert result.accuracy == pytest.approx(np.trace(confusion) / 1000)
    assert 0.9 < result.accuracy < 1
    assert 0 < result.nll < 0.4
    assert 0 <= result.ece < 0.1


def test_labels_that_are_all_wrong_score_nothing(classifier, sample):
    given = classifier.probabilities(sample.images).argmax(axis=1)
    result = evaluate(classifier, Dataset(sample.images, ((given + 1) % 10).astype(np.uint8)))
    assert result.accuracy == 0
    assert result.nll > 3


def test_known_is_the_share_above_the_files_threshold(classifier, sample):
    best = classifier.probabilities(sample.images).max(axis=1)
    share = (best >= classifier.contract.unknown_threshold).mean()
    assert evaluate(classifier, sample).known == pytest.approx(share)


@pytest.mark.parametrize("row", [[np.nan] + [0.1] * 9, [1.5, -0.5] + [0.0] * 8, [0.2] * 10], ids=str)
def test_what_is_no_probability_is_not_measured(classifier, sample, monkeypatch, row):
    rows = classifier.probabilities(sample.images)
    rows[0] = row
    monkeypatch.setattr(classifier, "probabilities", lambda images: rows[: len(images)])
    with pytest.raises(ModelError, match="edge: answers with what are no probabilities; export it again"):
        evaluate(classifier, sample)


def as_png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def test_all_test_images_saved_as_png_get_the_answers_that_are_evaluated(classifier, test_images):
    answers = list(classifier.predict_many(as_png(image) for image in test_images.images))
    expected = classifier.probabilities(test_images.images)
    assert {answer.read_as for answer in answers} == {"fmnist"}
    assert [answer.label for answer in answers] == [classifier.labels[index] for index in expected.argmax(axis=1)]
    assert np.allclose([answer.probabilities for answer in answers], expected, atol=1e-6)
