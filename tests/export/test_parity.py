"""Every model of the kit in every form answers as PyTorch does, on real images and made-up ones."""

import numpy as np
import pytest

from fmnist_edge_export.formats.registry import FORMATS
from fmnist_edge_export.pipeline import sealed
from fmnist_edge_export.proof.gate import ask_reference, prove
from fmnist_edge_export.proof.probes import make_probes

MODELS = ("cnn", "cnn_bn", "edge", "edge_large")
ROWS = ["structure", "logits", "batches", "probabilities", "decisions", "known", "contract", "self-test"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("model", MODELS)
def test_a_form_answers_as_the_bare_module(sources, probes, truths, model, form):
    content, _ = sealed(FORMATS[form], sources[model], probes, truths[model])
    proof = prove(FORMATS[form], content, sources[model], probes, truths[model])
    assert {check.name for check in proof.checks} >= set(ROWS)
    assert [check for check in proof.checks if not check.ok] == []
    assert proof.measured.batches == (1, 2, 7, 256)
    if form != "onnx-int8":
        assert proof.measured.dlogit_max <= 1e-4
        assert proof.measured.flips == ()


@pytest.fixture(scope="module")
def everything(sources, test_images, sample):
    """Probes of all 10,000 test images, and what the bare module answers to them."""
    probes = make_probes(test_images.images, test_images.labels, "the 10,000 test images", sample.images)
    return probes, ask_reference(sources["edge"], probes)


@pytest.mark.parametrize("form", FORMATS)
def test_the_committed_edge_files_pass_on_all_test_images(root, sources, everything, form):
    content = (root / "artifacts" / "edge" / FORMATS[form].file_name("edge")).read_bytes()
    proof = prove(FORMATS[form], content, sources["edge"], *everything)
    assert [check for check in proof.checks if not check.ok] == []
    assert proof.measured.accuracy.reference >= 0.94
    assert proof.measured.accuracy.reference - proof.measured.accuracy.file <= 0.001


def test_probes_mix_real_pictures_with_constants_boards_and_noise(probes, sample):
    real = {image.tobytes() for image in sample.images}
    made_up = [image for image in probes.numbers if image.tobytes() not in real]
    assert len(probes.numbers) == 256
    assert len(made_up) == 14
    assert sum(1 < image.max() < 64 for image in made_up) == 6, "dim, and nearly black"
    assert {int(image[0, 0]) for image in made_up if image.min() == image.max()} == {0, 128, 255}
    assert len(np.unique(probes.self_test, axis=0)) == 4
