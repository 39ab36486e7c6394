import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fmnist_edge_export import data
from fmnist_edge_runtime.bundled import bundled_model
from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.session import LOGITS, PROBABILITIES

ROOT = Path(__file__).parents[1]
FORBID_SKIPS = "FMNIST_EDGE_FORBID_SKIPS"


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def sample():
    return data.load_sample()


@pytest.fixture(scope="module")
def classifier():
    """The bundled model. Not for the whole session: one that is alive changes what a fork does."""
    with Classifier() as classifier:
        yield classifier


@pytest.fixture(scope="session")
def bundled():
    """The bundled model's file."""
    return bundled_model().read_bytes()


@pytest.fixture(scope="session")
def graph_of():
    """Take the contract off an ONNX file."""

    def graph_of(content):
        model = onnx.load_model_from_string(content)
        del model.metadata_props[:]
        return model.SerializeToString(deterministic=True)

    return graph_of


@pytest.fixture(scope="session")
def graph(bundled, graph_of):
    """The bundled file without its contract."""
    return graph_of(bundled)


@pytest.fixture
def metadata(bundled):
    """What the bundled file says of itself."""
    return json.loads(onnx.load_model_from_string(bundled).metadata_props[0].value)


@pytest.fixture(scope="session")
def test_images():
    """The 10,000 test images, where they are."""
    try:
        return data.load("test", download=False)
    except data.DataError as error:
        pytest.skip(f"needs all of Fashion-MNIST: {error}")


@pytest.fixture(scope="session")
def training_images():
    """The 60,000 training images, where they are."""
    try:
        return data.load("train", download=False)
    except data.DataError as error:
        pytest.skip(f"needs all of Fashion-MNIST: {error}")


@pytest.fixture
def artifacts(tmp_path):
    """A copy of the committed edge folder, in an artifacts folder of its own."""
    folder = tmp_path / "artifacts"
    shutil.copytree(ROOT / "artifacts" / "edge", folder / "edge")
    return folder


@pytest.fixture(scope="session")
def run():
    """Run the command line in a process of its own; returns its exit code and what it wrote."""

    def run(*arguments, stdin=b"", cwd=None, script=None, environment=None):
        start = [sys.executable, str(script)] if script else [sys.executable, "-m", "fmnist_edge"]
        return subprocess.run(
            [*start, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def failing_but_for():
    """Make a graph that loads, and fails at batches of another size than ``rows``, or gives ``rows`` answers to any."""

    def build(rows, *, answers_anyhow=False):
        images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", 28, 28])
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 10]) for name in (LOGITS, PROBABILITIES)
        ]
        constants = [
            numpy_helper.from_array(np.array([1]), "second"),
            numpy_helper.from_array(np.array([28 // rows]), "divisor"),
            numpy_helper.from_array(np.array([10]), "labels"),
            numpy_helper.from_array(np.zeros((784, 10), np.float32), "weights"),
            numpy_helper.from_array(np.zeros((1, 10), np.float32), "noughts"),
        ]
        nodes = [
            # The number of rows is taken from the height of a picture: onnxruntime would refuse one that it can see.
            helper.make_node("Shape", ["images"], ["shape"]),
            helper.make_node("Gather", ["shape", "second"], ["height"]),
            helper.make_node("Div", ["height", "divisor"], ["rows"]),
            helper.make_node("Concat", ["rows", "labels"], ["joined"], axis=0),
            helper.make_node("Abs", ["joined"], ["fixed"]),  # else it would fit the shape to whatever comes
            helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["floats"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
            helper.make_node("Expand", ["noughts", "fixed"], [LOGITS])
            if answers_anyhow
            else helper.make_node("Reshape", ["scores", "fixed"], [LOGITS]),
            helper.make_node("Softmax", [LOGITS], [PROBABILITIES]),
        ]
        model = helper.make_model(
            helper.make_graph(nodes, "g", [images], outputs, constants),
            opset_imports=[helper.make_opsetid("", 20)],
            ir_version=10,
        )
        return model.SerializeToString()

    return build


class SkipsFail:
    """Where everything is installed (CI), a skipped test is a failure that nobody saw."""

    def __init__(self):
        self.skipped = []

    def pytest_runtest_logreport(self, report):
        if report.skipped:
            self.skipped.append(f"{report.nodeid}: {report.longrepr[-1] if report.longrepr else ''}")

    def pytest_collectreport(self, report):
        self.pytest_runtest_logreport(report)

    def pytest_sessionfinish(self, session):
        if self.skipped:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        for line in self.skipped:
            terminalreporter.write_line(f"SKIPPED, which {FORBID_SKIPS} forbids: {line}", red=True)


def pytest_configure(config):
    if os.environ.get(FORBID_SKIPS):
        config.pluginmanager.register(SkipsFail())
