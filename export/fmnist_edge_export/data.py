"""Fashion-MNIST as NumPy arrays, from wherever it already is, digests checked.

Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", 2017, arXiv 1708.07747. MIT licence, (c) 2017 Zalando SE.
"""

import gzip
import hashlib
import logging
import os
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from fmnist_edge_export.extras import needs_export_extra
from fmnist_edge_runtime.errors import DataError
from fmnist_edge_runtime.session import Images

log = logging.getLogger(__name__)

LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
ENVIRONMENT_VARIABLE = "FMNIST_EDGE_DATA"
_DOWNLOADED = Path("FashionMNIST", "raw")  # below the folder that torchvision is given
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
SAMPLE_FOLDER = Path(__file__).parent / "sample"

Split = Literal["train", "test"]


def in_batches(images: Images, most: int) -> Iterator[Images]:
    """Yield uint8 ``[N, H, W]`` in parts of ``most`` pictures of 28 x 28, or of fewer larger ones.

    Only the last part may have a single one, unless ``most`` is 1.
    """
    size = max(min(most, 2), min(most, most * 28 * 28 // images[0].size))
    for start in range(0, len(images), size):
        yield images[start : start + size]


@dataclass(frozen=True)
class IdxFile:
    """One published file: its name, and the size and sha256 of what it holds once decompressed."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """Images uint8 ``[N, 28, 28]`` (light article on black), labels uint8 ``[N]``."""

    images: Images
    labels: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)


_TRAIN = (
    IdxFile("train-images-idx3-ubyte", 47040016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    IdxFile("train-labels-idx1-ubyte", 60008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
)
_TEST = (
    IdxFile("t10k-images-idx3-ubyte", 7840016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    IdxFile("t10k-labels-idx1-ubyte", 10008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
)
FILES: dict[Split, tuple[IdxFile, IdxFile]] = {"train": _TRAIN, "test": _TEST}
SAMPLE_FILES = (
    IdxFile("sample-images-idx3-ubyte", 784016, "7cee33c3c6414b1b86c25e665a6c4f41584269de3b7cc9768b1d351922845eef"),
    IdxFile("sample-labels-idx1-ubyte", 1008, "3128d790775889812b73c4f13923559c8b9e281d112c6ea7862acf60a206a909"),
)


def digests() -> dict[str, str]:
    """Return the sha256 of each decompressed file, by name."""
    return {file.name: file.sha256 for pair in FILES.values() for file in pair}


def load(split: Split, folder: Path | None = None, *, download: bool = True) -> Dataset:
    """Load the 60,000 training or the 10,000 test images.

    The first of these that is there is used: ``folder``; ``$FMNIST_EDGE_DATA``; the folder of the Debian
    package ``dataset-fashion-mnist``; the user's cache folder, filled by torchvision if ``download``.

    Raises:
        DataError: a file is missing, damaged, or not the published one.
        MissingExtraError: a download is needed and torchvision is not installed.
    """
    return _read(find(split, folder, download=download), FILES[split])


def load_sample() -> Dataset:
    """Load the 1,000 test images (the first 100 of each class) that come with the package."""
    return _read(SAMPLE_FOLDER, SAMPLE_FILES)


def load_test_or_sample(folder: Path | None = None) -> tuple[Dataset, str]:
    """Load the test images where they are, or else the sample, with the words that say which.

    Nothing is downloaded. A folder that was named, or set in ``$FMNIST_EDGE_DATA``, must hold them.
    """
    try:
        found = find("test", folder, download=False)
    except DataError:
        if folder or os.environ.get(ENVIRONMENT_VARIABLE):
            raise
        return load_sample(), "the sample of 1,000 test images"
    return _read(found, FILES["test"]), "the 10,000 test images"


def find(split: Split, folder: Path | None = None, *, download: bool = True) -> Path:
    """Return the folder that :func:`load` would read ``split`` from."""
    named = folder or (Path(os.environ[ENVIRONMENT_VARIABLE]) if os.environ.get(ENVIRONMENT_VARIABLE) else None)
    if named is not None:
        if not named.is_dir():
            wrong = "is a file" if named.exists() else "no such folder"
            raise DataError(f"{named}: {wrong}; name a folder that holds {FILES[split][0].name}[.gz]")
        return named
    cache = cache_folder()
    for candidate in (DEBIAN_FOLDER, *([cache / _DOWNLOADED] if cache else [])):
        if all(_path(candidate, file) for file in FILES[split]):
            return candidate
    if not download or cache is None:
        raise DataError(
            f"Fashion-MNIST is not on this machine; install the Debian package dataset-fashion-mnist, "
            f"or set ${ENVIRONMENT_VARIABLE} to the folder that holds it"
        )
    _download(cache)
    return cache / _DOWNLOADED


def cache_folder() -> Path | None:
    """Return the folder below the user's cache where a download goes; None for a user without a home."""
    try:
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # in many containers
        return None
    return Path(base) / "fmnist-edge"


def _download(root: Path) -> None:
    with needs_export_extra("downloading Fashion-MNIST"):
        from torchvision.datasets import FashionMNIST
    log.info("downloading Fashion-MNIST (30 MB) into %s", root)
    try:
        FashionMNIST(root, download=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise DataError(
            f"Fashion-MNIST could not be downloaded into {root} ({reason}); install the Debian package "
            f"dataset-fashion-mnist, or set ${ENVIRONMENT_VARIABLE} to a folder that holds the four files"
        ) from error


def _path(folder: Path, file: IdxFile) -> Path | None:
    for name in (file.name, file.name + ".gz"):
        if (folder / name).is_file():
            return folder / name
    return None


def _read(folder: Path, files: tuple[IdxFile, IdxFile]) -> Dataset:
    images, labels = (_checked_bytes(folder, file) for file in files)
    # The digest vouches for the header: idx3 is 16 bytes and then N*28*28 pixels, idx1 is 8 bytes and then N labels.
    return Dataset(
        np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28),
        np.frombuffer(labels, np.uint8, offset=8),
    )


def _checked_bytes(folder: Path, file: IdxFile) -> bytes:
    path = _path(folder, file)
    advice = "remove it and fetch it again"
    if path is None:
        raise DataError(f"{folder / file.name}[.gz]: missing; put the published files there, or name another --data")
    try:
        # Reading one byte more than the published size bounds what a hostile gzip can expand to.
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read(file.size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); {advice}") from error
    if len(content) < file.size:
        raise DataError(f"{path}: truncated, {len(content)} of {file.size} bytes; {advice}")
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise DataError(f"{path}: not the published {file.name} (its sha256 differs); {advice}")
    return content
