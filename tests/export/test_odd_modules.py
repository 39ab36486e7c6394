"""Modules that treat their pictures, memory or weights in ways of their own are exported right, or refused."""

import threading

import numpy as np
import pytest
import torch
from nets import Small
from torch import nn

from fmnist_edge_export.api import export_model
from fmnist_edge_export.formats.quiet import quiet
from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.errors import ModelError, ParityError

LABELS = ["a", "b", "c", "d"]


class Stretched(Small):
    """Brightens dark pictures alone, which tracing cannot follow."""

    def __init__(self, below):
        super().__init__()
        self.below = below

    def forward(self, x):
        if 0 < x.max() < self.below:
            x = x / x.max()
        return super().forward(x)


@pytest.mark.parametrize("below", [0.5, 0.3, 0.1])
def test_a_branch_that_only_dark_pictures_take_is_found(tmp_path, below):
    with pytest.raises(ModelError, match="scores of a picture depend on the others of its batch"):
        export_model(Stretched(below), labels=LABELS, out=tmp_path / "it", formats=["torchscript"])


class Merging(Small):
    """Adds what was learned apart to its weights in eval mode, and takes it away again to be trained."""

    def __init__(self):
        super().__init__()
        self.apart, self.merged = nn.Parameter(torch.full((4, 784), 0.01)), False

    def train(self, mode=True):
        if mode == self.merged:
            self.linear.weight.data += -self.apart if mode else self.apart
            self.merged = not mode
        return super().train(mode)


def test_the_weights_are_those_of_eval_mode(tmp_path):
    net = Merging()
    before = net.linear.weight.detach().clone()
    assert export_model(net, labels=LABELS, out=tmp_path / "it", formats=["onnx"]).ok
    np.testing.assert_allclose(net.linear.weight.detach(), before, atol=1e-6)
    assert net.training


class Reusing(Small):
    """Answers without gradients in memory that it fills anew each time."""

    def __init__(self):
        super().__init__()
        self.answers = torch.empty(512, 4)

    def forward(self, x):
        if torch.is_grad_enabled():
            return self.linear(x.flatten(1))
        return torch.addmm(self.linear.bias, x.flatten(1), self.linear.weight.T, out=self.answers[: len(x)])


def test_answers_in_memory_that_is_used_again_are_kept(tmp_path):
    assert export_model(Reusing(), labels=LABELS, out=tmp_path / "it", formats=["torchscript"]).ok


def test_complex_scores_are_none(tmp_path):
    with pytest.raises(ModelError, match=r"the module returns Tensor, not float \[N, 4\]"):
        export_model(Small(last=Imaginary()), labels=LABELS, out=tmp_path / "it", formats=["torchscript"])


class Imaginary(nn.Module):
    def forward(self, x):
        return torch.complex(x, x)


class Constant(Small):
    """Says the same of every picture, as many times as there were at tracing."""

    def forward(self, x):
        return self.linear.bias.expand(len(x), -1)


def test_torchscript_of_a_frozen_batch_size_is_called_so(tmp_path):
    with pytest.raises(ParityError) as caught:
        export_model(Constant(), labels=LABELS, out=tmp_path / "it", formats=["torchscript"])
    assert "2 answers to 1 pictures: its batch size is frozen" in caught.value.report.failures[-1].seen


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated")
def test_what_cannot_be_put_into_eval_mode_is_refused(tmp_path):
    frozen = torch.jit.freeze(torch.jit.script(Small().eval().linear))
    exported = torch.export.export(Small().eval(), (torch.zeros(2, 1, 28, 28),)).module()
    for module in (frozen, exported):
        with pytest.raises(ModelError, match=r"cannot be put into eval mode .*; give the module that it was made of"):
            export_model(module, labels=LABELS, out=tmp_path / "it")


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_another_default_device_changes_nothing(tmp_path, form):
    net = Small()
    with torch.device("meta"):
        assert export_model(net, labels=LABELS, out=tmp_path / "it", formats=[form]).ok


def test_in_autocast_the_float_network_is_still_the_truth(tmp_path):
    net = Small()
    with torch.autocast("cpu", torch.bfloat16):
        assert export_model(net, labels=LABELS, out=tmp_path / "it", formats=["onnx"]).ok
    with Classifier(tmp_path / "it" / "it.onnx") as classifier, torch.no_grad():
        grey = classifier.scores(np.full((1, 28, 28), 51, np.uint8))[0]
        np.testing.assert_allclose(grey, net(torch.full((1, 1, 28, 28), 0.2)), atol=1e-5)


def test_two_threads_that_keep_quiet_put_the_streams_back(capsys):
    first_is_out, second_is_in = threading.Event(), threading.Event()

    def second():
        with quiet():
            second_is_in.set()
            first_is_out.wait(5)

    other = threading.Thread(target=second)
    with quiet():
        other.start()
        second_is_in.wait(0.2)  # without a lock it is in by then, and takes what is silent for what to put back
    first_is_out.set()
    other.join()
    print("heard")
    assert capsys.readouterr().out == "heard\n"
