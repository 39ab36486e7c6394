"""Any module that takes float [N, 1, H, W]: exported, proven, and answered for with its own labels."""

import json

import numpy as np
import pytest
import torch
from nets import Small
from PIL import Image
from torch import nn
from torchvision.models import resnet18

from fmnist_edge_export.api import export_model
from fmnist_edge_export.formats.registry import FORMATS
from fmnist_edge_export.proof.reference import reference_logits
from fmnist_edge_export.record import Record
from fmnist_edge_export.source import Source
from fmnist_edge_export.verify import verify
from fmnist_edge_runtime.classifier import Classifier
from fmnist_edge_runtime.errors import ParityError

MEAN, STD = 0.2860, 0.3530
LABELS = ["clothes", "shoe"]
GROUPS = np.array([0, 0, 0, 0, 0, 1, 0, 1, 0, 1])


def two_groups(sample):
    """Clothes and shoes among the sample (no bags): of random features, what int8 tells apart as well."""
    chosen = sample.labels != 8
    return sample.images[chosen], GROUPS[sample.labels[chosen]]


@pytest.fixture(scope="module")
def resnet(sample):
    """resnet18 with a one-channel stem; its last layer fitted to the features by least squares, in one step."""
    torch.manual_seed(0)
    net = resnet18(weights=None)
    net.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    net.fc = nn.Identity()
    net.eval()
    images, groups = two_groups(sample)
    pixels = torch.from_numpy((images[:, None].astype(np.float32) / 255 - MEAN) / STD)
    with torch.no_grad():
        features = torch.cat([net(part) for part in pixels.split(100)]).double()
        ones = torch.cat([features, torch.ones(len(features), 1).double()], dim=1)
        wanted = torch.eye(2).double()[torch.from_numpy(groups)] * 8 - 4
        ridge = ones.T @ ones + 10 * torch.eye(513).double()
        solution = torch.linalg.solve(ridge, ones.T @ wanted).float()
        net.fc = nn.Linear(512, 2)
        net.fc.weight.copy_(solution[:512].T)
        net.fc.bias.copy_(solution[512])
    return net


def test_a_torchvision_resnet_exports_and_predicts_with_its_own_labels(resnet, sample, run, tmp_path):
    images, groups = two_groups(sample)
    out = tmp_path / "groups"
    report = export_model(
        resnet.train(),
        labels=LABELS,
        out=out,
        mean=MEAN,
        std=STD,
        examples=images,
        example_labels=groups,
        licence="CC0-1.0",
    )
    assert report.ok
    assert resnet.training, "the module is given back as it came"
    assert {check.subject for check in report.checks} == {"onnx", "onnx-int8", "torchscript"}
    assert verify(out).ok

    Image.fromarray(images[0]).save(tmp_path / "picture.png")
    for form in ("groups.onnx", "groups.int8.onnx"):
        done = run("predict", "--model", out / form, "--jsonl", tmp_path / "picture.png")
        answer = json.loads(done.stdout)
        assert (done.returncode, answer["label"]) == (0, LABELS[groups[0]])
        assert {candidate["label"] for candidate in answer["top"]} == set(LABELS)
    with Classifier(out / "groups.int8.onnx") as classifier:
        right = classifier.probabilities(images).argmax(axis=1) == groups
        assert right.mean() > 0.9
        assert classifier.contract.temperature != 1
        assert classifier.contract.raw["provenance"]["licence"] == "CC0-1.0"
    with Classifier(out / "groups.onnx") as classifier:
        known = classifier.probabilities(images).max(axis=1) >= classifier.contract.unknown_threshold
        assert 0.99 <= known.mean() < 1


def test_without_examples_nothing_is_unknown_and_the_manifest_says_so(tmp_path):
    report = export_model(Small(), labels="abcd", out=tmp_path / "small")
    assert report.ok
    assert {check.subject for check in report.checks} == {"onnx", "torchscript"}
    manifest = json.loads((tmp_path / "small" / "manifest.json").read_text())
    assert manifest["notes"] == ["no examples were given: temperature 1, nothing is unknown, no int8 form"]
    assert "accuracy, fp32" not in (tmp_path / "small" / "README.md").read_text(), "it was not measured"
    with Classifier(tmp_path / "small" / "small.onnx") as classifier:
        assert classifier.contract.temperature == 1
        assert classifier.predict(np.zeros((28, 28), np.uint8)).known


def test_the_picture_size_is_the_examples(tmp_path):
    examples = np.random.default_rng(0).integers(0, 256, (40, 20, 30), np.uint8)
    assert export_model(Small(600), labels="abcd", out=tmp_path / "wide", examples=examples, formats=["onnx"]).ok
    with Classifier(tmp_path / "wide" / "wide.onnx") as classifier:
        assert classifier.probabilities(examples).shape == (40, 4)
        assert classifier.predict(examples[0]).labels == ("a", "b", "c", "d")


def test_another_picture_size_without_examples(tmp_path):
    assert export_model(Small(1024), labels="abcd", out=tmp_path / "large", size=(32, 32), formats=["onnx"]).ok


def test_a_net_that_ends_in_log_softmax_exports(tmp_path):
    net = Small(last=nn.LogSoftmax(dim=1))
    assert export_model(net, labels="abcd", out=tmp_path / "log").ok
    with Classifier(tmp_path / "log" / "log.onnx") as classifier:
        image = np.full((1, 28, 28), 99, np.uint8)
        logits, _ = classifier.scores(image)
        own = net.linear(torch.full((1, 784), 99 / 255)) * 3
        np.testing.assert_allclose(logits, own.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("formats", [["onnx"], ["torchscript"]])
def test_scores_in_double_precision_become_the_float32_of_the_contract(tmp_path, formats):
    class Double(Small):
        def forward(self, x):
            return super().forward(x).double()

    report = export_model(Double(), labels="abcd", out=tmp_path / "it", formats=formats)
    assert report.ok
    form = FORMATS[formats[0]]
    logits, probabilities = form.open((tmp_path / "it" / form.file_name("it")).read_bytes())[1](
        np.zeros((2, 28, 28), np.uint8)
    )
    assert (logits.dtype, probabilities.dtype) == (np.float32, np.float32)


def test_a_temperature_at_the_end_of_what_is_tried_is_told(tmp_path, caplog):
    net, examples = Small().eval(), np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    right = net(torch.from_numpy(examples[:, None] / np.float32(255))).argmax(1).numpy()
    export_model(net, labels="abcd", out=tmp_path / "it", examples=examples, example_labels=right, formats=["onnx"])
    notes = json.loads((tmp_path / "it" / "manifest.json").read_text())["notes"]
    words = (
        "no temperature from 0.1 to 10 is better than 0.1: were the examples among what the network has learned from?"
    )
    assert words in notes
    assert words in caplog.text


class InPlace(Small):
    def forward(self, x):
        return super().forward(x.sub_(0.3))


def test_a_module_may_fill_its_pictures_anew(tmp_path):
    assert export_model(InPlace(), labels="abcd", out=tmp_path / "it", formats=["torchscript"]).ok


def test_scores_far_apart_may_end_in_log_softmax_too():
    net = Small(last=nn.LogSoftmax(dim=1)).eval()
    with torch.no_grad():
        net.linear.weight *= 300
    source = Source(net, Record("it", "Small", tuple("abcd"), 28, 28, "0" * 64), b"")
    logits = reference_logits(source, np.stack([np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)]))
    assert np.ptp(logits) > 150


def test_labels_with_dollar_signs_are_no_formulas(tmp_path, sample):
    export_model(
        Small(),
        labels=["$a^$", "$", "b", "c"],
        out=tmp_path / "it",
        examples=sample.images[:300],
        example_labels=sample.labels[:300] % 4,
        formats=["onnx"],
    )
    assert (tmp_path / "it" / "confusion.png").stat().st_size > 5000


def test_a_part_that_was_frozen_stays_frozen(tmp_path):
    net = nn.Sequential(nn.BatchNorm2d(1).eval(), Small())
    net[1].train()
    net.training = True
    export_model(net, labels="abcd", out=tmp_path / "it", formats=["onnx"])
    assert [part.training for part in (net, *net)] == [True, False, True]


class Merged(Small):
    """Does more in train and eval than set a flag, as adapters do that are merged into the weights."""

    factor = 3.0

    def train(self, mode=True):
        self.factor = 3.0 if mode else 1.0
        return super().train(mode)


def test_a_module_is_put_back_by_its_own_train(tmp_path):
    net = Merged()
    export_model(net, labels="abcd", out=tmp_path / "it", formats=["onnx"])
    assert net.training
    assert net.factor == 3.0


class Unreturning(Small):
    def train(self, mode=True):
        super().train(mode)


def test_a_module_whose_train_returns_nothing_exports(tmp_path):
    assert export_model(Unreturning(), labels="abcd", out=tmp_path / "it", formats=["onnx"]).ok


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*deprecated:FutureWarning")
def test_torchscript_alone_is_made_of_what_onnx_cannot_have(tmp_path, sample):
    traced = torch.jit.trace(Small().eval(), torch.zeros(2, 1, 28, 28))
    examples = sample.images[:64]
    assert export_model(traced, labels="abcd", out=tmp_path / "it", formats=["torchscript"], examples=examples).ok


def test_an_operator_of_somebody_elses_library_closes_the_gate(tmp_path):
    with torch.library._scoped_library("fmnist_edge_test", "DEF") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")

        class Foreign(Small):
            def forward(self, x):
                return super().forward(torch.ops.fmnist_edge_test.twice(x))

        with pytest.raises(ParityError) as caught:
            export_model(Foreign(), labels="abcd", out=tmp_path / "it", formats=["torchscript"])
    (failed,) = caught.value.report.failures
    assert failed.seen == "fmnist_edge_test.twice: an operator that torch itself does not have"


class Named(Small):
    def forward(self, x):
        with torch.profiler.record_function("ops.of.nobody"):
            return super().forward(x)


def test_torchs_own_operators_and_texts_are_nobody_elses(tmp_path):
    assert export_model(Named(), labels="abcd", out=tmp_path / "it", formats=["torchscript"]).ok


def test_the_folder_that_one_is_in_gives_the_name(tmp_path, monkeypatch):
    (tmp_path / "it").mkdir()
    monkeypatch.chdir(tmp_path / "it")
    export_model(Small(), labels="abcd", out=".", formats=["onnx"])
    assert (tmp_path / "it" / "it.onnx").is_file()


class Attentive(nn.Module):
    """Attention, which torch computes otherwise where it is watched, and rounds otherwise so."""

    def __init__(self):
        super().__init__()
        self.attention, self.last = nn.MultiheadAttention(28, 4, batch_first=True), nn.Linear(28, 4)

    def forward(self, x):
        rows = x[:, 0]
        return self.last(self.attention(rows, rows, rows, need_weights=False)[0].mean(dim=1))


def test_a_net_with_attention_is_no_misuse_of_log_softmax(tmp_path):
    assert export_model(Attentive(), labels="abcd", out=tmp_path / "it", formats=["onnx"]).ok


def test_exporting_draws_no_random_numbers(tmp_path):
    net = Small()
    before = torch.random.get_rng_state()
    export_model(net, labels="abcd", out=tmp_path / "it", formats=["onnx"])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_number_that_is_none_among_the_weights_equals_itself(tmp_path):
    net = Small()
    net.register_buffer("unused", torch.tensor([float("nan")]))
    assert export_model(net, labels="abcd", out=tmp_path / "it", formats=["onnx"]).ok
