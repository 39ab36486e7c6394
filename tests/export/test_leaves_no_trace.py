"""Exporting changes neither the network nor the process that it is done in, and drops nothing of what is computed."""

import logging

import numpy as np
import pytest
import torch
from nets import Checked, Small
from torch import nn

from fmnist_edge_export.api import export_model
from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.errors import ParityError


class Scaled(Small):
    """Divides by a length, made sure not to be 0 by a number that torch's optimiser takes for 0."""

    def forward(self, x):
        features = x.flatten(1)
        return super().forward(features / (features.norm(dim=1, keepdim=True) + 1e-8))


def test_a_number_next_to_nought_is_not_left_out(tmp_path):
    net = Scaled()
    assert export_model(net, labels="abcd", out=tmp_path / "it", formats=["onnx"]).ok
    with Classifier(tmp_path / "it" / "it.onnx") as classifier, torch.no_grad():
        black = classifier.scores(np.zeros((1, 28, 28), np.uint8))[0]
        np.testing.assert_allclose(black, net(torch.zeros(1, 1, 28, 28)).numpy(), atol=1e-5)


class Twice(nn.Module):
    """Uses a layer twice, of which onnxruntime's quantiser logs that it copies the bias."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.again, self.last = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)

    def forward(self, x):
        x = self.again(self.again(self.first(x).relu()).relu()).relu()
        return self.last(x.mean((2, 3))) * 20


def test_logging_is_still_the_applications_to_set_up(tmp_path, sample, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    export_model(Twice(), labels="abcd", out=tmp_path / "it", examples=sample.images[:100], formats=["onnx-int8"])
    assert logging.root.handlers == []


class Caches(Small):
    """Makes a tensor at its first call and keeps it, beside a factor that is learned."""

    def __init__(self):
        super().__init__()
        self.gain, self.grid = nn.Parameter(torch.tensor(0.1)), None

    def forward(self, x):
        if self.grid is None:
            self.grid = torch.linspace(-1, 1, 28).expand(28, -1)
        return super().forward(x + self.gain * self.grid)


def test_what_a_module_keeps_of_its_first_call_can_be_trained_with(tmp_path):
    net = Caches()
    assert export_model(net, labels="abcd", out=tmp_path / "it", formats=["onnx", "torchscript"]).ok
    net(torch.rand(2, 1, 28, 28)).sum().backward()
    assert net.gain.grad is not None


def test_nothing_is_printed(tmp_path, capfd):
    assert export_model(Checked(), labels="abcd", out=tmp_path / "it", formats=["onnx"]).ok
    assert capfd.readouterr() == ("", "")


class Fixed(Small):
    def forward(self, x):
        return super().forward(x.reshape(int(x.shape[0]), -1))


def test_why_torchscript_does_not_run_is_said(tmp_path):
    with pytest.raises(ParityError) as caught:
        export_model(Fixed(), labels="abcd", out=tmp_path / "it", formats=["torchscript"])
    assert "shapes cannot be multiplied" in caught.value.report.failures[-1].seen


@pytest.mark.parametrize(("count", "warned"), [(29, True), (30, False)])
def test_few_examples_are_warned_of(tmp_path, sample, caplog, count, warned):
    export_model(Twice(), labels="abcd", out=tmp_path / "it", examples=sample.images[:count], formats=["onnx-int8"])
    assert ("29 examples are few: its int8 form may do worse on others" in caplog.text) == warned
