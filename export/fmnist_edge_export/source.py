"""A float model on its way to its exported forms: the module, and everything the files will say of it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from torch import nn

from fmnist_edge_export.formats.onnx_core import export_core
from fmnist_edge_export.formats.scores import Scores
from fmnist_edge_export.record import Record, tool_versions
from fmnist_edge_runtime.contract import PICTURE_READER_VERSION, SCHEMA_VERSION, self_test_json
from fmnist_edge_runtime.session import Images


@dataclass(frozen=True)
class Source:
    """A bare float module in eval mode, its record, and its weights as the bytes of a safetensors file."""

    module: nn.Module
    record: Record
    weights: bytes

    @cached_property
    def scores(self) -> Scores:
        """The module as it is exported: pixels 0 to 1 in, logits out."""
        return Scores(self.module, self.record.mean, self.record.std).eval()

    @cached_property
    def core(self) -> ModelProto:
        """The float network as ONNX."""
        return export_core(self.scores, self.record.height, self.record.width)

    def with_record(self, record: Record) -> "Source":
        """Return the same network with another record of the same scaling; it is not made into ONNX again."""
        source = Source(self.module, record, self.weights)
        if "core" in self.__dict__:
            source.__dict__["core"] = self.core
        return source

    def metadata(self, form: str, self_test: dict[str, Any]) -> dict[str, Any]:
        """Return what a file of this model says of itself (docs/contract.md), but for its digests."""
        record = self.record
        return {
            "schema_version": SCHEMA_VERSION,
            "name": record.name,
            "architecture": record.architecture,
            "format": form,
            "labels": list(record.labels),
            "input": {
                "height": record.height,
                "width": record.width,
                "polarity": "light article on black, 0 to 255",
                "picture_reader": PICTURE_READER_VERSION,
                "mean": record.mean,
                "std": record.std,
            },
            "temperature": record.temperature,
            "unknown": {"score": "max_probability", "threshold": record.unknown_threshold},
            "provenance": {
                "dataset": record.dataset,
                "seed": record.seed,
                "recipe": record.recipe,
                "licence": record.licence,
                "test_accuracy": record.test_accuracy,
            },
            "versions": tool_versions(),
            "weights_sha256": record.weights_sha256,
            "self_test": self_test,
        }


def self_test(
    images: Images, reference: np.ndarray, of_file: np.ndarray, bounds: tuple[float, float]
) -> dict[str, Any]:
    """Return a self-test as it stands in the metadata; ``bounds`` are the tolerances against PyTorch and the file."""
    return self_test_json(
        images.tobytes(),
        reference_logits=as_lists(reference),
        reference_tolerance=bounds[0],
        file_logits=as_lists(of_file),
        file_tolerance=bounds[1],
    )


def as_lists(logits: np.ndarray) -> list[list[float]]:
    """Return logits as JSON holds them, to six digits after the point."""
    return [[round(float(value), 6) for value in row] for row in logits]


def normalised(images: Images, mean: float, std: float) -> torch.Tensor:
    """Return uint8 images as the bare module takes them, float ``[N, 1, H, W]``, scaled by NumPy and nothing else."""
    pixels = images[:, None].astype(np.float32) / np.float32(255)
    return torch.from_numpy((pixels - np.float32(mean)) / np.float32(std))
