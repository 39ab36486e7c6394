"""Quiet, on as many threads as asked, and without telemetry."""

import subprocess
import sys

import numpy as np
import onnx
import pytest

from fmnist_edge_runtime.bundled import bundled_model
from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.errors import ModelError
from fmnist_edge_runtime.modelfile import read, seal
from fmnist_edge_runtime.session import Session

REPORT = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print("telemetry", os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Watch())
from fmnist_edge_runtime.classifier import Classifier
Classifier()
"""


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0"), ("1", "1")])
def test_telemetry_is_off_before_the_import_unless_somebody_chose(before, after, monkeypatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    if before is not None:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", before)
    done = subprocess.run([sys.executable, "-c", REPORT], capture_output=True, text=True, check=True)
    assert done.stdout == f"telemetry {after}\n"
    assert done.stderr == ""


@pytest.mark.parametrize("threads", [1, 3])
def test_a_session_has_the_threads_asked_for_and_they_do_not_spin(threads):
    options = Session(read(bundled_model()), threads).inference.get_session_options()
    assert options.intra_op_num_threads == threads
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


THREADS = """
import os, numpy
from fmnist_edge_runtime.classifier import Classifier
kept, image = [], numpy.zeros((28, 28), numpy.uint8)
def threads():
    return len(os.listdir("/proc/self/task"))
before = threads()  # numpy has some of its own
for wanted in (1, 3):
    kept.append(Classifier(threads=wanted))
    kept[-1].probabilities(image[None])
    print(threads() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's threads as files")
def test_the_threads_asked_for_are_all_there_are():
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "2"], "the thread that calls is one of them"


IDLE = """
import time, numpy
from fmnist_edge_runtime.classifier import Classifier
image, idle = numpy.zeros((1, 28, 28), numpy.uint8), 0
with Classifier(threads=2) as classifier:
    for _ in range(20):
        classifier.probabilities(image)
        start = time.process_time()  # of all threads
        time.sleep(0.02)
        idle += time.process_time() - start
print(idle)
"""


def test_threads_cost_nothing_between_predictions():
    done = subprocess.run([sys.executable, "-c", IDLE], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.05, "threads that spin take 0.1 s and more of these 0.4"


def test_a_graph_that_cannot_be_run_is_one_line_and_nothing_is_printed(graph, metadata, capfd):
    model = onnx.load_model_from_string(graph)
    model.graph.node[-1].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match="cannot run it") as caught:
        Session(read(seal(model.SerializeToString(), metadata)), 1)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_what_onnxruntime_warns_of_stays_off_the_terminal(graph, metadata, capfd):
    model = onnx.load_model_from_string(graph)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "used by no node"))
    content = seal(model.SerializeToString(), metadata)
    images = np.zeros((1, 28, 28), np.uint8)

    import onnxruntime

    onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"images": images})
    assert "used by no node" in capfd.readouterr().err
    Session(read(content), 1).run(images)
    assert capfd.readouterr() == ("", "")


def test_one_thread_unless_asked_otherwise():
    with Classifier() as classifier:
        assert classifier._live[0].inference.get_session_options().intra_op_num_threads == 1


def test_a_single_image_has_the_answer_that_it_has_among_others(sample):
    session = Session(read(bundled_model()), 1)
    images = sample.images[:50]
    _, together = session.run(images)
    alone = [session.probabilities(images[at : at + 1]) for at in range(50)]
    np.testing.assert_array_equal(np.concatenate(alone), together)  # and none of them was written over by a later one
    np.testing.assert_array_equal(session.probabilities(images[:1, ::-1, ::-1]), session.run(images[:1, ::-1, ::-1])[1])


def test_who_predicts_in_the_midst_of_a_prediction_disturbs_neither(sample):
    session, answers = Session(read(bundled_model()), 1), []
    want = [session.run(sample.images[at : at + 1])[1] for at in (0, 1)]

    session.probabilities(sample.images[2:3])  # whose memory is there to be taken
    ask = session.inference.run_with_iobinding

    def interrupted(binding):
        if not answers:
            answers.append(None)
            answers[0] = session.probabilities(sample.images[1:2])
        ask(binding)

    session.inference.run_with_iobinding = interrupted
    outer = session.probabilities(sample.images[:1])
    np.testing.assert_array_equal(outer, want[0])
    np.testing.assert_array_equal(answers[0], want[1])
