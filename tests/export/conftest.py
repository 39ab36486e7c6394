import pytest

from fmnist_edge_export.data import Dataset
from fmnist_edge_export.proof.gate import ask_reference
from fmnist_edge_export.proof.probes import make_probes
from fmnist_edge_export.record import load_model
from fmnist_edge_export.source import Source
from fmnist_edge_export.train import Split


@pytest.fixture(scope="session")
def probes(sample):
    return make_probes(sample.images, sample.labels, "the sample", sample.images)


@pytest.fixture(scope="session")
def sources(root):
    """The committed models, as the exporter takes them."""

    def load(name):
        weights = root / "artifacts" / name / f"{name}.safetensors"
        return Source(*load_model(weights), weights.read_bytes())

    return {name: load(name) for name in ("cnn", "cnn_bn", "edge", "edge_large")}


@pytest.fixture(scope="session")
def truths(sources, probes):
    """What the bare modules answer to the probes."""
    return {name: ask_reference(source, probes) for name, source in sources.items()}


@pytest.fixture
def target(artifacts):
    """A copy of the committed edge, to be replaced."""
    return artifacts / "edge"


@pytest.fixture
def parts(sample):
    """Few images to train on, and fewer to watch."""
    return Split(
        Dataset(sample.images[:150], sample.labels[:150]), Dataset(sample.images[150:200], sample.labels[150:200])
    )
