"""One class to embed."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from fmnist_edge_runtime.bundled import bundled_model
from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.errors import ImageError, ModelError
from fmnist_edge_runtime.modelfile import seal
from fmnist_edge_runtime.reader import WAYS
from fmnist_edge_runtime.session import Session


def test_a_prediction_says_what_the_probabilities_say(classifier, sample):
    rows = classifier.probabilities(sample.images)
    known = set()
    for image, row in zip(sample.images, rows, strict=True):
        prediction = classifier.predict(image)
        assert prediction.index == row.argmax()
        assert prediction.label == classifier.labels[prediction.index]
        assert prediction.confidence == row.max()
        assert prediction.probabilities == tuple(row.tolist())
        assert prediction.known == (row.max() >= classifier.contract.unknown_threshold)
        known.add(prediction.known)
    assert known == {True, False}


def test_what_was_not_found_is_unknown_however_sure_the_network_is(classifier):
    sure = [0.0] * 9 + [1.0]
    assert classifier._prediction(sure, "photo", found=True).known
    assert not classifier._prediction(sure, "photo", found=False).known


@pytest.mark.parametrize(
    "row", [[0.5] * 9 + [float("nan")], [0.0] * 8 + [2.5, -1.5], [1.0] * 10, [0.0] * 10, [0.9] + [0.0] * 9], ids=str
)
@pytest.mark.parametrize("read_as", ["fmnist", "photo"])
def test_what_is_no_probability_is_no_answer(classifier, row, read_as):
    with pytest.raises(ModelError, match="answers with what are no probabilities; export it again"):
        classifier._prediction(row, read_as)


def test_most_of_the_sample_is_right(classifier, sample):
    assert (classifier.probabilities(sample.images).argmax(axis=1) == sample.labels).mean() > 0.9


@pytest.mark.parametrize("count", [1, 3, 300])
def test_probabilities_alone_are_those_that_come_with_the_scores(classifier, sample, count):
    logits, probabilities = classifier.scores(sample.images[:count])
    assert logits.shape == probabilities.shape == (count, 10)
    np.testing.assert_array_equal(classifier.probabilities(sample.images[:count]), probabilities)


def test_no_images_give_no_rows(classifier):
    empty = classifier.probabilities(np.zeros((0, 28, 28), np.uint8))
    assert (empty.shape, empty.dtype) == ((0, 10), np.float32)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1000])
def test_any_number_of_images_gives_the_same_rows(classifier, sample, count):
    alone = np.concatenate([classifier.probabilities(sample.images[i : i + 1]) for i in range(count)])
    np.testing.assert_allclose(classifier.probabilities(sample.images[:count]), alone, atol=1e-6)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((28, 28), np.uint8),
        np.zeros((1, 28, 27), np.uint8),
        np.zeros((1, 28, 28), np.float32),
        np.zeros((1, 1, 28, 28), np.uint8),
        [[0]],
    ],
)
def test_other_arrays_are_refused(classifier, images):
    with pytest.raises(ImageError, match=r"uint8 \[N, 28, 28\] is needed"):
        classifier.probabilities(images)


def test_views_that_are_not_contiguous_are_read_as_they_look(classifier, sample):
    flipped = sample.images[:5, :, ::-1]
    np.testing.assert_array_equal(classifier.probabilities(flipped), classifier.probabilities(flipped.copy()))


def test_a_model_is_a_path_a_name_or_bytes(sample):
    path = bundled_model()
    answers = []
    for model in (path, str(path), path.read_bytes(), None):
        with Classifier(model) as classifier:
            answers.append(classifier.predict(sample.images[0]))
    assert len(set(answers)) == 1


def test_an_empty_name_is_not_the_bundled_model():
    with pytest.raises(ModelError):
        Classifier("")


def test_a_photograph_is_read_whatever_numpy_is_told_to_raise(classifier):
    photo = np.full((80, 80, 3), 255, np.uint8)
    photo[20:60, 25:55] = (0, 0, 255)
    answer = classifier.predict(photo)
    with np.errstate(all="raise"):
        assert classifier.predict(photo) == answer


def test_tiny_probabilities_are_averaged_whatever_numpy_is_told_to_raise(classifier, monkeypatch):
    tiny = np.zeros((3, 10), np.float32)
    tiny[0] = 1e-45
    monkeypatch.setattr(classifier, "probabilities", lambda views: tiny)
    with np.errstate(all="raise"):
        assert len(classifier._rows([np.zeros((3, 28, 28), np.uint8)])) == 1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_model_may_be_any_bytes(sample, kind):
    image = sample.images[0]
    assert Classifier(kind(bundled_model().read_bytes())).predict(image) == Classifier().predict(image)


@pytest.mark.parametrize("way", WAYS)
def test_an_explanation_is_read_as_it_is_asked_for(classifier, sample, way):
    assert classifier.explain(sample.images[0], read_as=way)[0] == classifier.predict(sample.images[0], read_as=way)


def test_a_way_of_reading_that_is_none_is_refused_at_the_call(classifier, sample):
    with pytest.raises(ValueError, match="read_as='guess'"):
        classifier.explain(sample.images[0], read_as="guess")
    with pytest.raises(ValueError, match="read_as='guess'"):
        classifier.predict_many([], read_as="guess")


def test_a_closed_classifier_says_so(sample):
    classifier = Classifier()
    classifier.close()
    classifier.close()
    with pytest.raises(ModelError, match="is closed; make a new one"):
        classifier.predict(sample.images[0])
    with pytest.raises(ModelError, match="is closed"):
        pickle.loads(pickle.dumps(classifier)).predict(sample.images[0])


def test_a_with_block_closes(sample):
    with Classifier() as classifier:
        assert classifier.predict(sample.images[0]).label == "Ankle boot"
    with pytest.raises(ModelError, match="is closed"):
        classifier.predict(sample.images[0])


@pytest.mark.parametrize("threads", [0, -1, 1025, 10**11, 1.5, "2", np.int64(0), np.float64(1)])
def test_threads_are_a_whole_number_that_can_be_started(threads):
    with pytest.raises(ValueError, match=r"threads=.*: a whole number from 1 to 1,024 is needed"):
        Classifier(threads=threads)


def test_threads_may_be_a_number_of_numpys(sample):
    with Classifier(threads=np.int64(2)) as classifier:
        assert classifier.predict(sample.images[0]).label == "Ankle boot"


def test_a_name_for_people(classifier):
    assert repr(classifier).startswith("<Classifier edge onnx-int8, 10 labels, from ")


def test_whatever_its_name_is_it_is_one_line(graph, metadata):
    with Classifier(seal(graph, metadata | {"name": "a\nb\x1b[31m"})) as classifier:
        assert repr(classifier).startswith(r"<Classifier a\nb\x1b[31m onnx-int8, ")


def test_a_file_that_was_opened_is_read_from_where_it_stands(classifier, sample):
    buffer = io.BytesIO()
    Image.fromarray(sample.images[0]).save(buffer, "PNG")
    buffer.seek(0)
    assert classifier.predict(buffer).label == "Ankle boot"


def test_no_more_than_256_images_are_in_one_call(classifier, sample, monkeypatch):
    sizes, run = [], Session.run
    monkeypatch.setattr(Session, "run", lambda current, images: sizes.append(len(images)) or run(current, images))
    classifier.scores(sample.images[:600])
    assert sizes == [256, 256, 88]
