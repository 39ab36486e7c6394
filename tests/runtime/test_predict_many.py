"""Many pictures: in order, few in flight, held as they were given, and none stops the others."""

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_edge_runtime.errors import ImageError


def test_many_pictures_are_answered_in_order(classifier, sample):
    answers = list(classifier.predict_many(sample.images[:100]))
    assert [answer.index for answer in answers] == classifier.probabilities(sample.images[:100]).argmax(axis=1).tolist()


def test_no_pictures_give_no_answers(classifier):
    assert list(classifier.predict_many([])) == []


@pytest.mark.parametrize(("workers", "most"), [(1, 16), (3, 64)])
def test_no_more_pictures_are_taken_than_the_threads_and_one_batch_need(classifier, sample, workers, most):
    taken = 0

    def source():
        nonlocal taken
        while True:
            taken += 1
            yield sample.images[0]

    answers = classifier.predict_many(source(), workers=workers)
    assert taken == 0
    next(answers)
    assert taken == most
    answers.close()


def test_frames_in_one_array_that_is_filled_again_and_again_are_all_answered(classifier, sample):
    def camera():
        frame = np.empty((28, 28), np.uint8)
        for image in sample.images[:100]:
            frame[:] = image
            yield frame

    assert list(classifier.predict_many(camera())) == list(classifier.predict_many(sample.images[:100]))


def test_a_pil_image_that_is_filled_again_and_a_file_that_is_closed_are_answered_as_they_were(classifier, root):
    names = ["bag", "ankle-boot", "trouser"] * 8
    paths = [root / f"examples/pictures/{name}.png" for name in names]

    def one_image():
        frame = Image.new("L", (28, 28))
        for path in paths:
            frame.paste(Image.open(path))
            yield frame

    def opened_images():
        for path in paths:
            with Image.open(path) as image:
                yield image

    def files():
        for path in paths:
            with path.open("rb") as file:
                yield file

    def one_buffer():
        buffer = bytearray(2000)
        for path in paths:
            buffer[:] = path.read_bytes()
            yield buffer

    wanted = list(classifier.predict_many(paths))
    assert {answer.label for answer in wanted} == {"Bag", "Ankle boot", "Trouser"}
    for pictures in (one_image, opened_images, files, one_buffer):
        assert list(classifier.predict_many(pictures())) == wanted, pictures


def test_a_pil_image_is_turned_once(classifier, sample):
    upright = Image.fromarray(sample.images[1])
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    with Image.open(buffer) as image:
        (answer,) = classifier.predict_many([image])
    assert answer == classifier.predict(upright)


def test_files_that_wait_to_be_answered_are_few_where_they_are_large(classifier):
    opened = 0

    def large_files():
        nonlocal opened
        for _ in range(40):
            opened += 1
            yield io.BytesIO(b"P5 1 1 255\n\0" + bytes(9_000_000))

    answers = classifier.predict_many(large_files(), workers=1)
    next(answers)
    assert opened <= 8
    answers.close()


def test_a_file_that_cannot_be_read_stands_in_its_place(classifier, sample, tmp_path):
    closed = (tmp_path / "closed").open("wb+")
    closed.close()
    answers = list(classifier.predict_many([sample.images[0], closed, sample.images[1]], errors="return"))
    assert [isinstance(answer, ImageError) for answer in answers] == [False, True, False]


def test_a_returned_error_keeps_nothing_of_its_file_alive(classifier, tmp_path):
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    closed = (tmp_path / "closed").open("wb+")
    closed.close()
    for error in classifier.predict_many([tmp_path / "damaged.png", closed], errors="return"):
        assert isinstance(error, ImageError)
        assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


def test_an_array_that_cannot_be_a_picture_is_not_copied_first(classifier, sample):
    enormous = np.broadcast_to(np.uint8(0), (10**6, 10**6))
    refused, answer = classifier.predict_many([enormous, sample.images[0]], errors="return")
    assert str(refused).startswith("an array of uint8 [1000000, 1000000]: more than 50,000,000 pixels")
    assert answer == classifier.predict(sample.images[0])


@pytest.mark.parametrize(
    "one",
    [
        "boot.png",
        Path("boot.png"),
        b"it",
        bytearray(9),
        memoryview(b"it"),
        io.BytesIO(b"it"),
        Image.new("L", (9, 9)),
        np.zeros((28, 28), np.uint8),
        np.zeros((9, 8, 3), np.uint8),
        np.zeros((9, 8, 4), np.uint8),
    ],
)
def test_one_picture_is_not_taken_for_many(classifier, one):
    with pytest.raises(TypeError, match="for a single one there is predict"):
        classifier.predict_many(one)


def test_an_array_of_paths_is_many_pictures(classifier, root):
    paths = [str(root / "examples/pictures" / name) for name in ("bag.png", "dress.png")]
    answers = classifier.predict_many(np.array(paths, dtype=object))
    assert [answer.label for answer in answers] == ["Bag", "Dress"]


def test_many_pictures_are_answered_alike_by_any_number_of_threads(classifier, sample):
    pictures = [*sample.images[:40], b"words", *sample.images[40:50]]
    one, three = (
        [str(answer) for answer in classifier.predict_many(pictures, errors="return", workers=workers)]
        for workers in (1, 3)
    )
    assert one == three
    assert len(one) == 51
    with pytest.raises(ValueError, match="workers=0: a whole number from 1 to 1,024"):
        classifier.predict_many(pictures, workers=0)


def test_a_bad_picture_raises_in_its_turn_or_stands_in_its_place(classifier, sample):
    images = [sample.images[0], b"words", sample.images[1]]
    answers = classifier.predict_many(images)
    assert next(answers).index == 9
    with pytest.raises(ImageError):
        next(answers)
    first, error, last = classifier.predict_many(images, errors="return")
    assert isinstance(error, ImageError)
    assert (first, last) == (classifier.predict(images[0]), classifier.predict(images[2]))
    with pytest.raises(ValueError, match="'raise' or 'return'"):
        classifier.predict_many(images, errors="ignore")


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("count", [20, 100])
def test_what_an_iterable_gave_before_it_failed_is_answered(classifier, sample, workers, count):
    def camera():
        yield from sample.images[:count]
        raise KeyError("unplugged")

    answers = classifier.predict_many(camera(), workers=workers)
    assert [next(answers).index for _ in range(count)] == [classifier.predict(x).index for x in sample.images[:count]]
    with pytest.raises(KeyError, match="unplugged"):
        next(answers)


def test_a_view_that_was_released_is_no_picture(classifier, sample):
    released = memoryview(b"it")
    released.release()
    with pytest.raises(ImageError, match="the picture given as bytes: cannot be read"):
        classifier.predict(released)
    error, answer = classifier.predict_many([released, sample.images[0]], errors="return")
    assert isinstance(error, ImageError)
    assert answer == classifier.predict(sample.images[0])


def test_unless_told_otherwise_there_are_as_many_threads_as_cores_allowed(classifier, sample, monkeypatch):
    monkeypatch.setattr("fmnist_edge_runtime.classifier.allowed_cores", lambda: 3)
    taken = []
    answers = classifier.predict_many(taken.append(1) or image for image in itertools.repeat(sample.images[0]))
    next(answers)
    assert len(taken) == (3 + 1) * 16
    answers.close()


LARGE = {
    "file": lambda: io.BytesIO(b"P5 3000 3000 255\n" + bytes(9_000_000)),
    "bytes": lambda: b"P5 3000 3000 255\n" + bytes(9_000_000),
    "array": lambda: np.zeros((3000, 3000), np.uint8),
    "PIL": lambda: Image.new("RGB", (1500, 1500)),
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
def test_of_large_pictures_two_wait(classifier, make):
    taken = []
    answers = classifier.predict_many((taken.append(1) or make() for _ in range(40)), workers=1, read_as="fmnist")
    next(answers)
    assert len(taken) == 2
    answers.close()
