"""What export_model does not take: refused with one line before anything is replaced."""

import numpy as np
import pytest
import torch
from nets import Small
from torch import nn

from fmnist_edge_export import api, record
from fmnist_edge_export.api import export_model
from fmnist_edge_runtime import contract
from fmnist_edge_runtime.contract import MOST_PIXELS, self_test_json
from fmnist_edge_runtime.errors import ImageError, ModelError


class Pair(Small):
    def forward(self, x):
        return super().forward(x), x


def test_with_examples_a_module_is_asked_before_it_is_exported(tmp_path, sample):
    with pytest.raises(ModelError, match=r"the module returns tuple, not float \[N, 4\]"):
        export_model(Pair(), labels="abcd", out=tmp_path / "it", examples=sample.images[:64])


def test_asked_for_in_int8_it_is_refused(tmp_path, sample):
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    with pytest.raises(ModelError, match=r"it: no int8 form: nothing but the last layer, .* leave int8 out"):
        export_model(
            nn.Sequential(*layers),
            labels="abcd",
            out=tmp_path / "it",
            examples=sample.images[:300],
            formats=["onnx-int8"],
        )


@pytest.mark.parametrize("out", ["", b""])
def test_an_empty_path_is_not_the_folder_one_stands_in(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="out is an empty path"):
        export_model(Small(), labels="abcd", out=out)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_that_torch_tells_as_a_failure_is_ctrl_c(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise torch.onnx.errors.OnnxExporterError("module 'torch._dynamo' has no attribute 'exc'")  # noqa: B904

    monkeypatch.setattr(torch.onnx, "export", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_model(Small(), labels="abcd", out=tmp_path / "it")
    assert list(tmp_path.iterdir()) == []


class Branching(Small):
    def forward(self, x):
        return torch.cond(x.sum() > -1, lambda y: y * 2, lambda y: y * 3, (super().forward(x),))


class MiddleLogSoftmax(Small):
    def forward(self, x):
        return super().forward(x).log_softmax(dim=1) * 2


class Random(Small):
    def forward(self, x):
        return super().forward(x) + torch.randn(len(x), 4)


class Picky(Small):
    def forward(self, x):
        assert x.shape[2] == 27, "other pictures are wanted"


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.round()


class Rounded(Small):
    def forward(self, x):
        return super().forward(Straight.apply(x * 15))


class Annotated(Small):
    def get_extra_state(self):
        return {"written by": "me"}


class HalfSoftmax(Small):
    def forward(self, x):
        return super().forward(x).softmax(dim=1).half()


@pytest.mark.parametrize(
    ("module", "changes", "words"),
    [
        (Picky(), {}, r"cannot take float \[250, 1, 28, 28\].* \(other pictures are wanted\)"),
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), {}, "Sequential: its weights cannot be saved"),
        (Small(), {"out": "sur\udcff"}, "cannot be the name of a model's files"),
        (Annotated(), {}, r"Annotated: keeps a dict in its state \(_extra_state\)"),
        (Small(), {"labels": {"a", "b", "c", "d"}}, "labels of set: a list in the order of the scores"),
        (Small(), {"labels": ["a", "b", "c", "\udc80"]}, "it: cannot be recorded"),
        (Small(), {"licence": 3}, r"it: cannot be recorded \(licence is 3\)"),
        (Random(), {}, "answers otherwise when it is asked again"),
        (Small(last=nn.Softmax(dim=1)), {}, "returns probabilities"),
        (HalfSoftmax(), {}, "returns probabilities"),
        (MiddleLogSoftmax(), {}, "log_softmax"),
        (Small(), {"labels": "abc"}, r"returns \[250, 4\], not float \[N, 3\]"),
        (Small(), {"labels": ["a", "a", "b", "c"]}, "all different"),
        (Small(), {"labels": [0, 1, 2, 3]}, "texts are needed"),
        (Small(), {"labels": [["a"], ["b"], ["c"], ["d"]]}, "texts are needed"),
        (Small(), {"std": 0.0}, "a std above 0"),
        (Small(), {"mean": [0.5]}, r"mean \[0.5\]: one number is needed"),
        (Small(), {"std": "one"}, "std 'one': one number is needed"),
        (Small(), {"size": 28}, "size 28: height and width, two whole numbers, are needed"),
        (Small(), {"size": (28.0, 28.0)}, r"size \(28.0, 28.0\): height and width"),
        (Small(), {"out": "manifest"}, "'manifest' cannot be the name"),
        (Small(), {"formats": ["onnx-int8"]}, "int8 needs example images"),
        (Small(), {"formats": ["tflite"]}, "tflite: no such format"),
        (Small(), {"formats": "onnx"}, "formats 'onnx': a list of names is needed"),
        (Small(), {"formats": [1]}, r"formats \[1\]: a list of names"),
        (None, {}, "a NoneType instead of a torch.nn.Module"),
        (Small(), {"out": "a\0b"}, "the path of a folder is needed"),
        (Small(), {"std": 1e300}, r"std 1e\+300: finite float32"),
        (Rounded(), {}, "torch.jit cannot trace the module .Could not export Python function call 'Straight'"),
        (Small(), {"size": (0, 28)}, "pictures of 0 x 28: 1 to 4,096 a side"),
        (Small(), {"size": (5000, 100)}, "pictures of 5000 x 100: 1 to 4,096 a side"),
        (Small(), {"example_labels": np.zeros(3, int)}, "give both"),
        (Small(), {"size": (20, 20)}, r"cannot take float \[250, 1, 20, 20\]"),
        (Small().half(), {}, "cannot take float"),
        (Small(), {"size": (900, 900)}, r"pictures of 900 x 900: .* 750,000 are the most"),
        (Branching(), {"formats": ["onnx"]}, r"a branch or a loop \(If\) cannot be exported to ONNX"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_one_line(tmp_path, module, changes, words):
    with pytest.raises(ModelError, match=words) as caught:
        export_model(module, **{"labels": "abcd", "out": tmp_path / "it", **changes})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_four_of_the_largest_pictures_fit_into_the_metadata():
    pictures = self_test_json(bytes(4 * MOST_PIXELS))["images"]
    assert 0 < contract._MOST_BYTES - len(pictures) < 300_000, "and leave room for all else"


def test_examples_must_be_pictures(tmp_path):
    with pytest.raises(ImageError, match=r"float64 \[3, 28, 28\]"):
        export_model(Small(), labels="abcd", out=tmp_path / "it", examples=np.zeros((3, 28, 28)))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros(2, int), r"int64 \[2\] for 3 examples; give one integer each"),
        (np.zeros((3, 1), int), r"int64 \[3, 1\] for 3 examples"),
        (np.zeros(3), r"float64 \[3\] for 3 examples"),
        ([[0], [1, 2]], "no array can be made of them"),
        (np.array([0, 4, 1]), "4 among the example_labels; there are 4 labels, 0 to 3"),
        (np.array([0, -1, 1]), "-1 among the example_labels"),
    ],
)
def test_example_labels_are_places_in_the_labels(tmp_path, labels, words):
    with pytest.raises(ModelError, match=words):
        export_model(
            Small(),
            labels="abcd",
            out=tmp_path / "it",
            examples=np.zeros((3, 28, 28), np.uint8),
            example_labels=labels,
        )


def test_scores_that_happen_to_be_probabilities_of_one_picture_are_scores(tmp_path):
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 3))
    with torch.no_grad():
        module[1].bias[:] = torch.tensor([1.0, 0.0, 0.0])  # what it says of a black picture
    assert export_model(module, labels="abc", out=tmp_path / "it", formats=["onnx"]).ok


class OfTheBatch(nn.Module):
    """Answers for an image by the company it is in, which no file may do."""

    def forward(self, x):
        return (x - x.mean(dim=0, keepdim=True)).flatten(1)[:, :4] + x.flatten(1)[:, 400:404]


class OfTheNumber(Small):
    """Says the opposite of a picture alone, which a traced file knows nothing of."""

    def forward(self, x):
        scores = super().forward(x)
        return -scores if len(x) == 1 else scores


@pytest.mark.parametrize(("module", "side"), [(OfTheBatch(), 28), (OfTheNumber(), 28), (OfTheBatch(), 320)])
def test_a_module_that_looks_at_its_batch_is_refused(tmp_path, module, side):
    with pytest.raises(ModelError, match="the module's scores of a picture depend on the others of its batch"):
        export_model(module, labels="abcd", out=tmp_path / "it", size=(side, side))
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_the_modules_are_never_written(tmp_path, monkeypatch):
    other = Small()
    with torch.no_grad():
        next(other.parameters()).add_(1)
    monkeypatch.setattr(api, "weights_of", lambda module: record.weights_of(other))
    with pytest.raises(ModelError, match="the weights to be written are not those of the module"):
        export_model(Small(), labels="abcd", out=tmp_path / "it", formats=["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_a_module_that_torch_cannot_trace_is_told_which_form_to_leave_out(tmp_path):
    with pytest.raises(ModelError, match=r"torch\.jit cannot trace the module .*; leave torchscript out"):
        export_model(Branching(), labels="abcd", out=tmp_path / "it", formats=["torchscript"])
