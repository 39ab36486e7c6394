"""What every exported file says about itself: one JSON object under the key ``fmnist_edge``.

Fields, all required unless marked: docs/contract.md.
"""

import base64
import json
import math
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from fmnist_edge_runtime.digest import sha256

KEY = "fmnist_edge"
SCHEMA_VERSION = 1
PICTURE_READER_VERSION = 5
UNKNOWN_SCORES = ("max_probability",)
MOST_PIXELS_A_SIDE = 4096
MOST_SELF_TEST_IMAGES = 4
MOST_PIXELS = 750_000  # four pictures in base64, and all else, in the 4 MiB that metadata may have
_MOST_BYTES = 4 * 2**20


class ContractError(ValueError):
    """The metadata is missing something, or says something that cannot be."""


class SelfTest(NamedTuple):
    """A few real images with the logits they must give.

    ``images`` is uint8 ``[n, height, width]`` as raw bytes; ``reference_logits`` are PyTorch's, ``file_logits`` this
    very file's when it was made. Each tolerance bounds the largest absolute difference of a replay.
    """

    images: bytes
    reference_logits: tuple[tuple[float, ...], ...]
    reference_tolerance: float
    file_logits: tuple[tuple[float, ...], ...]
    file_tolerance: float


@dataclass(frozen=True)
class Contract:
    """The part of the metadata that a runtime needs, checked; ``raw`` is the whole object."""

    name: str
    format: str
    labels: tuple[str, ...]
    height: int
    width: int
    picture_reader: int
    mean: float
    std: float
    temperature: float
    unknown_threshold: float
    weights_sha256: str
    graph_sha256: str
    self_test: SelfTest
    raw: dict[str, Any]

    def is_known(self, confidence: float) -> bool:
        """Whether the best probability is high enough for the picture to count as one of the labels."""
        return confidence >= self.unknown_threshold


def canonical(metadata: dict[str, Any]) -> bytes:
    """Return the one way that metadata is written: sorted keys, no spaces, ASCII."""
    return json.dumps(metadata, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def encode(metadata: dict[str, Any], graph_sha256: str) -> bytes:
    """Return the entry's bytes: ``metadata`` with the graph's digest and the metadata's own."""
    complete = metadata | {"graph_sha256": graph_sha256}
    complete.pop("metadata_sha256", None)
    return canonical(complete | {"metadata_sha256": sha256(canonical(complete)).hexdigest()})


def decode(entry: bytes, graph_sha256: str) -> Contract:
    """Check an entry's bytes against the graph that they came with.

    Raises:
        ContractError: damaged, of an unknown schema, of another graph, or incomplete.
    """
    if len(entry) > _MOST_BYTES:
        raise ContractError(f"its metadata is {len(entry)} bytes long")
    try:
        raw = json.loads(entry, parse_constant=_refuse_constant)
        intact = isinstance(raw, dict) and canonical(raw) == entry
    except (ValueError, RecursionError) as error:
        raise ContractError("its metadata is damaged: not JSON") from error
    if not intact:
        raise ContractError("its metadata is damaged: not in the form that the exporter writes")
    version = raw.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise ContractError(f"its schema_version is {version!r:.80}, this runtime knows {SCHEMA_VERSION}")
    without_digest = {key: value for key, value in raw.items() if key != "metadata_sha256"}
    if raw.get("metadata_sha256") != sha256(canonical(without_digest)).hexdigest():
        raise ContractError("its metadata is damaged: the digest differs")
    if raw.get("graph_sha256") != graph_sha256:
        raise ContractError("its graph is damaged, or another model's: the digest differs")
    try:
        return _parse(raw)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ContractError(f"its metadata is incomplete: {error}") from error


def self_test_json(images: bytes, **rest: Any) -> dict[str, Any]:
    """Return a self-test as it stands in the metadata."""
    return {"images": base64.b64encode(images).decode("ascii"), **rest}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parse(raw: dict[str, Any]) -> Contract:
    _require(isinstance(raw["labels"], list), "labels")
    labels = tuple(raw["labels"])
    picture, unknown = raw["input"], raw["unknown"]
    height, width = picture["height"], picture["width"]
    _require(bool(labels) and all(isinstance(label, str) and label for label in labels), "labels")
    _require(len(set(labels)) == len(labels), "labels")
    "".join(labels).encode()  # a lone surrogate is no text
    _require(all(type(side) is int and 1 <= side <= MOST_PIXELS_A_SIDE for side in (height, width)), "input size")
    _require(height * width <= MOST_PIXELS, "input size")
    _require(unknown["score"] in UNKNOWN_SCORES, "unknown score")
    _require(type(picture["picture_reader"]) is int and picture["picture_reader"] >= 1, "picture_reader")
    _require(all(isinstance(raw[name], dict) for name in ("provenance", "versions")), "provenance or versions")
    texts = [raw["name"], raw["architecture"], raw["format"], picture["polarity"], raw["weights_sha256"]]
    _require(all(isinstance(text, str) for text in texts), "text")
    accuracy = raw["provenance"].get("test_accuracy")
    _require(accuracy is None or 0 <= _number(accuracy) <= 1, "test_accuracy")
    temperature, threshold, std = map(_number, (raw["temperature"], unknown["threshold"], picture["std"]))
    _require(temperature > 0, "temperature")
    _require(0 <= threshold <= 1, "unknown threshold")
    _require(std > 0, "std")
    return Contract(
        name=raw["name"],
        format=raw["format"],
        labels=labels,
        height=height,
        width=width,
        picture_reader=picture["picture_reader"],
        mean=_number(picture["mean"]),
        std=std,
        temperature=temperature,
        unknown_threshold=threshold,
        weights_sha256=raw["weights_sha256"],
        graph_sha256=raw["graph_sha256"],
        self_test=_parse_self_test(raw["self_test"], len(labels), height * width),
        raw=raw,
    )


def _parse_self_test(raw: dict[str, Any], labels: int, pixels: int) -> SelfTest:
    images = base64.b64decode(raw["images"], validate=True)
    count = len(images) // pixels
    _require(1 <= count <= MOST_SELF_TEST_IMAGES and len(images) == count * pixels, "self_test images")
    rows = {
        name: tuple(tuple(_number(x) for x in row) for row in raw[name]) for name in ("reference_logits", "file_logits")
    }
    for name, table in rows.items():
        _require(len(table) == count and all(len(row) == labels for row in table), f"self_test {name}")
    reference_tolerance, file_tolerance = map(_number, (raw["reference_tolerance"], raw["file_tolerance"]))
    _require(min(reference_tolerance, file_tolerance) >= 0, "self_test tolerance")
    return SelfTest(images, rows["reference_logits"], reference_tolerance, rows["file_logits"], file_tolerance)


def _number(value: Any) -> float:
    _require(type(value) in (int, float) and math.isfinite(value), f"number {value!r:.80}")
    return float(value)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"bad {what}")
