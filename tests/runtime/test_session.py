"""Quiet, on as many threads as asked, and without telemetry."""

import subprocess
import sys

import pytest

from fmnist_edge_runtime import session
from fmnist_edge_runtime.bundled import bundled_model
from fmnist_edge_runtime.errors import ModelError
from fmnist_edge_runtime.modelfile import read, seal

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
    options = session.create(read(bundled_model()), threads).get_session_options()
    assert options.intra_op_num_threads == threads
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_graph_that_cannot_be_run_is_one_line_and_nothing_is_printed(capfd):
    import json

    import onnx

    model = onnx.load_model_from_string(bundled_model().read_bytes())
    metadata = json.loads(model.metadata_props[0].value)
    del model.metadata_props[:]
    model.graph.node[-1].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match="cannot run it") as caught:
        session.create(read(seal(model.SerializeToString(), metadata)), 1)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
