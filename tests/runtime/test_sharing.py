"""One Classifier among threads, in children after fork, in processes that are spawned, beside an event loop."""

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from fmnist_edge_runtime import classifier as runtime_classifier
from fmnist_edge_runtime import forks, session
from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.errors import ModelError
from fmnist_edge_runtime.session import Session

THREADS, TIMES = 8, 250  # benchmarks/soak.py: 10,000 times


@pytest.fixture
def classifier():
    with Classifier() as classifier:
        yield classifier


def test_every_answer_to_every_thread_is_the_serial_one(classifier, sample):
    images = sample.images[:TIMES, None]
    serial = [classifier.probabilities(image).tobytes() for image in images]
    all_at_once = threading.Barrier(THREADS)

    def answers(number):
        all_at_once.wait(60)
        order = np.roll(np.arange(TIMES), number * TIMES // THREADS)
        return all(classifier.probabilities(images[i]).tobytes() == serial[i] for i in order)

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(answers, range(THREADS)))


def test_threads_that_read_pictures_get_the_serial_predictions(classifier, sample):
    serial = [classifier.predict(image) for image in sample.images[:200]]
    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(classifier.predict, sample.images[:200])) == serial


def test_a_classifier_closed_under_other_threads_answers_or_says_so(classifier, sample):
    image = sample.images[:1]
    right = classifier.probabilities(image).tobytes()
    answering = threading.Barrier(THREADS + 1)

    def until_closed():
        answering.wait(60)
        try:
            while classifier.probabilities(image).tobytes() == right:
                pass
        except ModelError as error:
            return str(error)

    with ThreadPoolExecutor(THREADS) as pool:
        ends = [pool.submit(until_closed) for _ in range(THREADS)]
        answering.wait(60)
        classifier.close()
        assert all("is closed" in end.result() for end in ends)


def test_a_spawned_process_gets_it_by_pickle(classifier, sample):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        answers = pool.map(classifier.predict, sample.images[:3])
    assert answers == [classifier.predict(image) for image in sample.images[:3]]


def test_a_copy_of_a_closed_classifier_is_closed(classifier, sample):
    classifier.close()
    copy = pickle.loads(pickle.dumps(classifier))
    photograph = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for ask in (
        lambda: copy.probabilities(sample.images),
        lambda: copy.predict(photograph),
        lambda: copy.predict(sample.images[0]),
        lambda: list(copy.predict_many([photograph])),
    ):
        with pytest.raises(ModelError, match="is closed"):
            ask()


def test_closing_waits_for_the_thread_that_loads_the_model_again(monkeypatch):
    classifier, closed = Classifier(), []

    class Turn:
        def __enter__(self):
            closed.append(classifier._live[0] is None)

        def __exit__(self, *_):
            closed.append(classifier._live[0] is None)

    monkeypatch.setattr(forks, "changing", Turn())
    classifier.close()
    assert closed == [False, True]


def test_a_pickle_holds_the_model_and_the_options(sample):
    with Classifier(threads=2) as classifier:
        copy = pickle.loads(pickle.dumps(classifier))
        assert copy.predict(sample.images[7]) == classifier.predict(sample.images[7])
    assert copy._live[0].inference.get_session_options().intra_op_num_threads == 2


if hasattr(os, "fork"):

    def told_by_a_child(work):
        """Fork; return what ``work`` returns there, or the error it ends with, sent back through a pipe."""
        reader, writer = os.pipe()
        if not (child := os.fork()):
            try:
                try:
                    told = work()
                except Exception as error:
                    told = str(error)
                os.write(writer, told.encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            told = pipe.read().decode()
        assert os.waitpid(child, 0)[1] == 0
        return told

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_a_child_does_not_wait_for_the_threads_of_its_parents_stream(sample):
        with Classifier() as classifier:
            answers = classifier.predict_many(sample.images, workers=2)
            first = next(answers)
            assert "begun by the parent of this process" in told_by_a_child(lambda: str(list(answers)))
            assert [first, *answers] == [classifier.predict(image) for image in sample.images]

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    @pytest.mark.parametrize("threads", [1, 2])
    def test_a_child_after_fork_answers_and_so_does_its_parent(sample, threads):
        with Classifier(threads=threads) as classifier:
            wanted = classifier.predict(sample.images[0]).label
            assert told_by_a_child(lambda: classifier.predict(sample.images[0]).label) == wanted
            assert classifier.predict(sample.images[0]).label == wanted

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_a_child_of_a_moment_in_which_a_thread_changes_a_session_answers(classifier, sample):
        def told_or_stuck():
            signal.alarm(60)  # ends a child that waits for a thread that it has not
            return classifier.predict(sample.images[0]).label

        with forks.changing:
            told = told_by_a_child(told_or_stuck)
        assert told == classifier.predict(sample.images[0]).label

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_a_signal_handler_closes_a_child_that_loads_the_model_again(classifier, sample, monkeypatch):
        def told_or_stuck():
            signal.signal(signal.SIGTERM, lambda *_: classifier.close())
            signal.alarm(60)
            return classifier.predict(sample.images[0]).label

        class Terminated(Session):
            def __init__(self, *given):
                os.kill(os.getpid(), signal.SIGTERM)
                super().__init__(*given)

        monkeypatch.setattr(runtime_classifier, "Session", Terminated)
        assert "this classifier is closed" in told_by_a_child(told_or_stuck)

    FORGOTTEN = """
import os, sys, numpy
from fmnist_edge_runtime.classifier import Classifier
classifier = Classifier(threads=2)
classifier.probabilities(numpy.zeros((1, 28, 28), numpy.uint8))
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""

    @pytest.mark.parametrize(
        "child",
        [
            "del classifier; sys.exit(7)",
            "sys.exit(7)",
            "classifier.close(); sys.exit(7)",
            "classifier.probabilities(numpy.zeros((1, 28, 28), numpy.uint8)); del classifier; sys.exit(7)",
            "if not os.fork(): sys.exit(7)\nsys.exit(os.waitstatus_to_exitcode(os.wait()[1]))",
        ],
    )
    def test_a_child_ends_that_forgets_or_closes_its_parents_classifier(child):
        done = subprocess.run([sys.executable, "-c", FORGOTTEN + child], check=False, timeout=120)
        assert done.returncode == 7

    AMID_AN_IMPORT = """
import os, signal, sys, threading, time, numpy
from importlib.machinery import PathFinder, SourceFileLoader
from fmnist_edge_runtime.classifier import Classifier

class Slow(SourceFileLoader):
    def get_code(self, name):
        importing.set()
        time.sleep(1)
        return super().get_code(name)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            spec = PathFinder.find_spec(name, path)
            spec.loader = Slow(name, spec.origin)
            return spec

importing, classifier = threading.Event(), Classifier()
photos = 40 * sys.argv[2:] or [*numpy.random.default_rng(0).integers(0, 256, (40, 60, 80, 3), dtype=numpy.uint8)]
sys.meta_path.insert(0, Finder())
threading.Thread(target=lambda: list(classifier.predict_many(photos, workers=2))).start()
importing.wait()
if not os.fork():
    signal.alarm(60)
    list(classifier.predict_many(photos, workers=2))
    os._exit(7)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""

    @pytest.mark.parametrize("module", ["fmnist_edge_runtime.cutout", "concurrent.futures.thread"])
    def test_a_child_of_the_moment_of_the_first_photographs_answers(module):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", AMID_AN_IMPORT, module],
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 7
        assert done.stderr == b"", "no hook has given back what another has not taken"

    @pytest.mark.parametrize(
        ("module", "mode", "suffix"),
        [
            ("PIL.WebPImagePlugin", "RGB", "webp"),
            ("PIL.ImageCms", "LAB", "tif"),
            ("fmnist_edge_runtime.tiff", "RGB", "tif"),
        ],
    )
    def test_so_does_one_of_the_moment_of_the_first_picture_of_a_kind(tmp_path, module, mode, suffix):
        Image.frombytes(mode, (80, 60), bytes(range(240)) * 60).save(tmp_path / f"it.{suffix}")
        code = [sys.executable, "-W", "ignore", "-c", AMID_AN_IMPORT, module, str(tmp_path / f"it.{suffix}")]
        assert subprocess.run(code, check=False, timeout=120).returncode == 7

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_closed_before_the_fork_or_in_the_child_it_is_closed_there_alone(classifier, sample):
        def closed_and_asked():
            classifier.close()
            return classifier.predict(sample.images[0]).label

        assert "is closed" in told_by_a_child(closed_and_asked)
        assert classifier.predict(sample.images[0]).label
        classifier.close()
        assert "is closed" in told_by_a_child(lambda: classifier.predict(sample.images[0]).label)


class DeadlineError(RuntimeError):
    """One that onnxruntime does not raise."""


@pytest.mark.parametrize("raised", [TimeoutError, DeadlineError])
def test_what_a_signal_handler_raises_is_not_taken_for_a_fault_of_the_model(sample, monkeypatch, raised):
    def deadline(*_):
        raise raised

    def interrupted(binding):
        signal.raise_signal(signal.SIGINT)
        return binding

    before = signal.signal(signal.SIGINT, deadline)
    try:
        with Classifier() as classifier:
            monkeypatch.setattr(classifier._live[0].inference, "run_with_iobinding", interrupted)
            with pytest.raises(raised):
                classifier.predict(sample.images[0])
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_event_loop_goes_on_while_a_thread_predicts(classifier, sample):
    async def turns_of_the_loop():
        task = asyncio.create_task(asyncio.to_thread(classifier.probabilities, sample.images))
        turns = 0
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        return turns, await task

    turns, rows = asyncio.run(turns_of_the_loop())
    assert turns > 100, "1,000 images take long enough for thousands"
    np.testing.assert_array_equal(rows, classifier.probabilities(sample.images))


def test_a_classifier_closed_while_a_child_loads_it_again_stays_closed(classifier, sample, monkeypatch):
    load, closer = session._load, threading.Thread(target=classifier.close)

    def closed_meanwhile(file, threads):
        closer.start()  # and waits for the lock, or would close what is replaced in a moment
        closer.join(0.2)
        return load(file, threads)

    monkeypatch.setattr(session, "_load", closed_meanwhile)
    classifier._live = (classifier._live[0], -1)  # as a child after fork finds it
    with contextlib.suppress(ModelError):
        classifier.predict(sample.images[0])
    closer.join(60)
    with pytest.raises(ModelError, match="is closed"):
        classifier.predict(sample.images[0])
