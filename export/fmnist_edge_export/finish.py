"""From a trained network to a model that can be exported: calibrated, measured once, recorded."""

from dataclasses import asdict, replace

import torch
from torch import nn

from fmnist_edge_export import data
from fmnist_edge_export.calibration import fit_temperature, fit_threshold
from fmnist_edge_export.data import Dataset
from fmnist_edge_export.files import sha256_of_bytes
from fmnist_edge_export.formats.quantise import CALIBRATION_IMAGES, PERCENTILE, calibrate, calibration_images
from fmnist_edge_export.int8_ready import make_ready_for_int8
from fmnist_edge_export.models.residual import ResidualNet
from fmnist_edge_export.progress import Epoch, Run
from fmnist_edge_export.proof.reference import reference_logits
from fmnist_edge_export.record import Record, tool_versions, weights_of
from fmnist_edge_export.source import Source
from fmnist_edge_export.train import Split, accuracy, scaled
from fmnist_edge_runtime.selftest import softmax


def finish(run: Run, module: nn.Module, curve: list[Epoch], split: Split, test: Dataset) -> Record:
    """Return the record of a network that was trained on ``split``; the test images give its final accuracy alone."""
    images = calibration_images(split.learn.images)
    if isinstance(module, ResidualNet):
        make_ready_for_int8(module, scaled(torch.from_numpy(images).unsqueeze(1)))
    weights = weights_of(module)
    record = Record(
        name=run.architecture,
        architecture=run.architecture,
        labels=data.LABELS,
        height=28,
        width=28,
        weights_sha256=sha256_of_bytes(weights),
        recipe=asdict(run.recipe),
        seed=run.recipe.seed,
        teachers=run.teachers,
        curve=[asdict(epoch) for epoch in curve],
        dataset=data.digests(),
        licence="MIT",
        test_accuracy=accuracy(module, test),
        trained_with=tool_versions(),
    )
    source = Source(module, record, weights)
    notes = [f"The int8 ranges hold {PERCENTILE:g} % of the values over {CALIBRATION_IMAGES:,} training images."]
    if run.recipe.validation:
        logits = reference_logits(source, split.watch.images)
        temperature = fit_temperature(logits, split.watch.labels)
        threshold = fit_threshold(softmax(logits / temperature))
        record = replace(record, temperature=temperature, unknown_threshold=threshold)
        notes.append(
            f"Temperature and threshold were fitted on {run.recipe.validation:,} training images held out of training."
        )
        notes += [run.recipe.chosen] if run.recipe.chosen else []
        notes.append(
            "No weights, temperature or threshold was chosen by the test images: they give the final accuracy, and the "
            "gate its verdict, by which earlier ways to int8 were given up."
        )
    else:
        notes.append("The test images were watched after each epoch, as in the notebook; nothing was chosen by them.")
        notes.append("All training images were learned from, so there is no temperature and no threshold.")
    return replace(record, ranges=calibrate(source.core, images), notes=notes)
