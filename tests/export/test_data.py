import gc
import gzip
import hashlib
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler

import numpy as np
import pytest
from torchvision.datasets import FashionMNIST

from fmnist_edge_export import data
from fmnist_edge_export.data import DataError, IdxFile


def idx_files(count):
    """Two small files in the published format: images and labels."""
    rng = np.random.default_rng(count)
    sizes = b"".join(number.to_bytes(4, "big") for number in (count, 28, 28))
    images = b"\0\0\x08\x03" + sizes + rng.integers(0, 256, count * 784, np.uint8).tobytes()
    labels = b"\0\0\x08\x01" + count.to_bytes(4, "big") + rng.integers(0, 10, count, np.uint8).tobytes()
    return images, labels


def described(name, content):
    return IdxFile(name, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def published(monkeypatch, tmp_path):
    """A small data set in the place of the published one, and no other source on this machine."""
    contents = {}
    files = {}
    for split, prefix, count in (("train", "train", 7), ("test", "t10k", 5)):
        images, labels = idx_files(count)
        names = (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
        contents |= dict(zip(names, (images, labels), strict=True))
        files[split] = tuple(described(name, contents[name]) for name in names)
    monkeypatch.setattr(data, "FILES", files)
    monkeypatch.setattr(data, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache" / "fmnist-edge")
    monkeypatch.delenv(data.ENVIRONMENT_VARIABLE, raising=False)
    return contents


def put(folder, contents, *, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_images_and_labels_come_as_published(published, tmp_path, packed):
    loaded = data.load("train", put(tmp_path / "here", published, packed=packed))
    assert loaded.images.shape == (7, 28, 28)
    assert loaded.images.tobytes() == published["train-images-idx3-ubyte"][16:]
    assert loaded.labels.tobytes() == published["train-labels-idx1-ubyte"][8:]


def test_the_sources_are_tried_in_their_order(published, monkeypatch, tmp_path):
    cached = put(tmp_path / "cache" / "fmnist-edge" / "FashionMNIST" / "raw", published)
    assert data.find("test") == cached
    debian = put(tmp_path / "debian", published)
    assert data.find("test") == debian
    variable = put(tmp_path / "variable", published)
    monkeypatch.setenv(data.ENVIRONMENT_VARIABLE, str(variable))
    assert data.find("test") == variable
    named = put(tmp_path / "named", published)
    assert data.find("test", named) == named


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA", data.ENVIRONMENT_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(data.Path, "home", homeless)
    monkeypatch.setattr(data, "DEBIAN_FOLDER", data.Path("nowhere"))
    with pytest.raises(DataError, match="Fashion-MNIST is not on this machine"):
        data.find("test")


def test_a_source_that_was_named_is_never_passed_over(published, tmp_path):
    put(tmp_path / "debian", published)
    with pytest.raises(DataError, match=r"missing; put the published files there"):
        data.load("test", put(tmp_path / "empty", {}))
    with pytest.raises(DataError, match="no such folder"):
        data.load("test", tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: is a file; name a folder that holds"):
        data.load("test", tmp_path / "file")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-1], "truncated, 10 of 11 bytes|truncated, 3935 of 3936 bytes"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "its sha256 differs"),
        (lambda content: content + b"more", "its sha256 differs"),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(published, tmp_path, damage, words):
    name = "t10k-images-idx3-ubyte"
    folder = put(tmp_path / "here", published | {name: damage(published[name])})
    with pytest.raises(DataError, match=words) as caught:
        data.load("test", folder)
    assert str(folder / name) in str(caught.value)
    assert "remove it and fetch it again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_gzip_is_named(published, tmp_path):
    folder = put(tmp_path / "here", published, packed=True)
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: cannot be read"):
        data.load("test", folder)


def test_swapped_files_are_refused(published, tmp_path):
    train, test = "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"
    folder = put(tmp_path / "here", published | {train: published[test], test: published[train]})
    with pytest.raises(DataError, match="not the published t10k-labels"):
        data.load("test", folder)
    with pytest.raises(DataError, match="train-labels-idx1-ubyte: truncated"):
        data.load("train", folder)


def test_a_gzip_bomb_is_read_no_further_than_the_published_size(published, tmp_path):
    folder = put(tmp_path / "here", published, packed=True)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(50_000_000)))
    with pytest.raises(DataError, match="its sha256 differs"):
        data.load("test", folder)


@pytest.fixture
def mirror(published, monkeypatch, tmp_path):
    """A server on loopback in the place of the one that torchvision downloads from."""
    served = put(tmp_path / "served", published, packed=True)
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        sums = [
            (path.name, hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest())
            for path in sorted(served.iterdir())
        ]
        monkeypatch.setattr(FashionMNIST, "resources", sums)
        yield served
        server.shutdown()


def test_the_last_source_is_a_download_into_the_cache(mirror, published):
    assert data.load("test").images.tobytes() == published["t10k-images-idx3-ubyte"][16:]
    for path in mirror.iterdir():
        path.unlink()
    assert len(data.load("train")) == 7, "what was downloaded is not asked for again"


def test_a_download_of_something_else_is_refused(mirror, published, monkeypatch):
    resources = [(name, None) for name, _ in FashionMNIST.resources]
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    other = bytearray(published["t10k-images-idx3-ubyte"])
    other[-1] ^= 1
    (mirror / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(other)))
    with pytest.raises(DataError, match="not the published t10k-images-idx3-ubyte"):
        data.load("test")


# torchvision keeps the refused connection open until it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_download_that_fails_says_what_else_to_do(mirror):
    for path in mirror.iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"could not be downloaded.*dataset-fashion-mnist.*FMNIST_EDGE_DATA"):
        data.load("test")
    gc.collect()


def test_without_a_download_the_sample_stands_in(published, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_download", lambda *_: pytest.fail("it downloads"))
    images, words = data.load_test_or_sample()
    assert len(images) == 1000
    assert "sample" in words
    here = put(tmp_path / "here", published)
    assert len(data.load_test_or_sample(here)[0]) == 5
    with pytest.raises(DataError):
        data.load_test_or_sample(put(tmp_path / "empty", {}))


def test_no_sample_stands_in_for_damaged_files(published):
    folder = put(data.DEBIAN_FOLDER, published)
    damaged = max(folder.glob("t10k-images*"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(DataError, match=damaged.name):
        data.load_test_or_sample()


def test_the_sample_holds_a_hundred_test_images_of_each_class(sample):
    assert sample.images.shape == (1000, 28, 28)
    assert np.bincount(sample.labels).tolist() == [100] * 10
    assert (data.SAMPLE_FOLDER / "NOTICE").read_text().count("Zalando") == 1


def test_the_sample_is_of_the_test_images(sample, test_images):
    every = {image.tobytes(): label for image, label in zip(test_images.images, test_images.labels, strict=True)}
    assert all(every[i.tobytes()] == label for i, label in zip(sample.images, sample.labels, strict=True))


def test_the_published_sizes_load(training_images, test_images):
    assert training_images.images.shape == (60000, 28, 28)
    assert test_images.images.shape == (10000, 28, 28)
