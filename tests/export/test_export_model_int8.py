"""Any module in int8: what can be quantised, what stays float, and what has no int8 form."""

import json

import onnx
import pytest
import torch
from nets import Small
from torch import nn

from fmnist_edge_export.api import export_model
from fmnist_edge_export.formats.onnx_core import export_core
from fmnist_edge_export.formats.quantise import calibrate, quantise
from fmnist_edge_export.formats.scores import Scores
from fmnist_edge_export.proof.structure import quantisation_problems
from fmnist_edge_export.verify import verify
from fmnist_edge_runtime.errors import ModelError


class Shifted(nn.Module):
    """A net with a constant that is added, which becomes an integer tensor with a range of its own."""

    def __init__(self, shift):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 4)
        self.shift = nn.Parameter(torch.linspace(*shift, 8).reshape(1, 8, 1, 1))

    def forward(self, x):
        return self.last((self.first(x) + self.shift).relu().mean((2, 3))) * 20


@pytest.mark.parametrize("shift", [(-0.3, 0.3), (0.1, 0.3)])
def test_a_constant_in_a_net_may_be_of_either_sign(tmp_path, shift, sample):
    torch.manual_seed(0)
    report = export_model(
        Shifted(shift), labels="abcd", out=tmp_path / "shifted", examples=sample.images[:300], formats=["onnx-int8"]
    )
    assert report.ok


class ClassToken(nn.Module):
    """A net whose graph computes sizes, in integers, beside what is computed of pictures."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.token, self.first, self.last = nn.Parameter(torch.rand(1, 1, 28)), nn.Linear(28, 28), nn.Linear(28, 4)

    def forward(self, x):
        rows = torch.cat([self.token.expand(x.shape[0], -1, -1), x[:, 0]], 1)
        return self.last(self.first(rows).relu().mean(1)) * 20


class Leaky(nn.Module):
    """A net that chooses by what is true and false."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(1, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        x = self.first(x)
        return self.last(torch.where(x > 0, x, 0.1 * x).mean((2, 3))) * 20


@pytest.mark.parametrize("net", [ClassToken, Leaky])
def test_values_that_are_no_floats_need_no_range(tmp_path, net, sample):
    assert export_model(net(), labels="abcd", out=tmp_path / "it", examples=sample.images[:300], formats=["onnx-int8"])


def test_a_net_of_one_layer_has_no_int8_form_and_the_manifest_says_so(tmp_path, sample):
    report = export_model(Small(), labels="abcd", out=tmp_path / "it", examples=sample.images[:300])
    assert {check.subject for check in report.checks} == {"onnx", "torchscript"}
    notes = json.loads((tmp_path / "it" / "manifest.json").read_text())["notes"]
    assert "no int8 form: nothing but the last layer, which stays float, multiplies" in notes


class Shared(nn.Module):
    """A convolution that is used twice, and another whose biases are equal to its: one constant, read three times."""

    def __init__(self):
        super().__init__()
        self.first, self.cell, self.other = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
        self.last = nn.Linear(8, 4)
        for layer in (self.cell, self.other):
            nn.init.constant_(layer.bias, 0.01)

    def forward(self, x):
        x = self.cell(self.cell(self.first(x).relu()).relu()).relu()
        return self.last(self.other(x).relu().mean((2, 3)))


def test_biases_that_several_layers_read_are_the_networks(tmp_path, sample):
    torch.manual_seed(0)
    assert export_model(
        Shared(), labels="abcd", out=tmp_path / "it", examples=sample.images[:300], formats=["onnx-int8"]
    ).ok


class Masked(Small):
    """A net with infinite values inside, as attention has."""

    def forward(self, x):
        scores = super().forward(x)
        small = scores < scores.mean(dim=1, keepdim=True)
        return scores.masked_fill(small, -torch.inf).softmax(dim=1) @ torch.arange(16.0).reshape(4, 4)


def test_a_net_whose_values_have_no_ranges_has_no_int8_form(tmp_path, sample):
    out, given = tmp_path / "it", {"labels": "abcd", "examples": sample.images[:64]}
    report = export_model(Masked(), out=out, **given)
    assert {check.subject for check in report.checks} == {"onnx", "torchscript"}
    notes = json.loads((out / "manifest.json").read_text())["notes"]
    (reason,) = (note for note in notes if note.startswith("no int8 form: onnxruntime finds no ranges"))
    with pytest.raises(ModelError) as refusal:
        export_model(Masked(), out=out, formats=["onnx-int8"], **given)
    assert str(refusal.value) == f"it: {reason}; leave int8 out"


def test_the_last_layer_stays_float_whatever_comes_after_it(tmp_path, sample):
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    export_model(net, labels="abcd", out=tmp_path / "it", examples=sample.images[:300], formats=["onnx-int8"])
    graph = onnx.load(tmp_path / "it" / "it.int8.onnx").graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    first, last = [node for node in graph.node if node.op_type == "Conv"]
    assert makers[first.input[1]] == "DequantizeLinear"
    assert last.input[1] not in makers, "its weights are float"
    assert "QuantizeLinear" not in [node.op_type for node in graph.node if last.output[0] in node.input]


def test_an_int8_form_from_before_stays_where_another_is_asked_for(tmp_path, sample):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for formats in (["onnx-int8"], ["onnx"]):
        export_model(net, labels="abcd", out=tmp_path / "it", examples=sample.images[:300], formats=formats)
    assert verify(tmp_path / "it").ok
    assert (tmp_path / "it" / "it.int8.onnx").is_file()


class Scaled(nn.Conv2d):
    def __init__(self):
        super().__init__(8, 8, 3)
        self.weight_scale = nn.Parameter(torch.full((8, 1, 1), 0.5))
        self.weight_zero_point = nn.Parameter(torch.full((8, 1, 1), 0.2))
        self.bias_quantized = nn.Parameter(torch.full((8, 1, 1), 0.1))

    def forward(self, x):
        return super().forward(x) * self.weight_scale + self.weight_zero_point + self.bias_quantized


def test_parameters_may_be_called_as_the_quantiser_calls_its_own(sample):
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), Scaled(), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), Small(72))
    )
    core = export_core(Scores(net.eval(), 0.0, 1.0), 28, 28)
    ranges = calibrate(core, sample.images[:200])
    assert quantisation_problems(quantise(core, ranges).SerializeToString(), ranges) == []
