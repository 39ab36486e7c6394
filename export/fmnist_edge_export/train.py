"""The training loop, top to bottom."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fmnist_edge_export.augment import augment
from fmnist_edge_export.data import Dataset
from fmnist_edge_export.models import build
from fmnist_edge_export.progress import Epoch, Run, restore_progress, save_progress
from fmnist_edge_export.recipes import Recipe

EVALUATION_BATCH = 500

Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class Split:
    """What a run learns from and what it watches."""

    learn: Dataset
    watch: Dataset


def split(train: Dataset, test: Dataset, recipe: Recipe) -> Split:
    """Hold out ``recipe.validation`` training images (the same ones in every run), or watch the test images if 0."""
    if recipe.validation == 0:
        return Split(train, test)
    order = np.random.default_rng(0).permutation(len(train))
    held, rest = np.sort(order[: recipe.validation]), np.sort(order[recipe.validation :])
    return Split(
        Dataset(train.images[rest], train.labels[rest]),
        Dataset(train.images[held], train.labels[held]),
    )


def train(
    run: Run,
    data: Split,
    checkpoint: Path,
    *,
    resume: bool = False,
    on_batch: Callable[[int, int, int], None] = lambda epoch, batch, batches: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> tuple[nn.Module, list[Epoch]]:
    """Train a model of the kit; return it in eval mode, with its curve.

    After each epoch ``checkpoint`` is replaced atomically, so an interruption costs at most one epoch. Every random
    draw follows from the run's seed and the epoch's number: a run resumed or repeated on the same machine with the
    same number of threads gives the same weights.
    """
    recipe = run.recipe
    torch.manual_seed(run.seed)
    model = build(run.architecture).to(memory_format=torch.channels_last)
    averaged = AveragedModel(model, multi_avg_fn=weight_average(recipe.average_decay), use_buffers=True)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )
    curve = restore_progress(checkpoint, run, model, averaged, optimizer) if resume else []
    network = averaged.module if recipe.average_decay else model  # what the run is about

    images, labels = to_tensors(data.learn)
    batches = math.ceil(len(images) / recipe.batch_size)
    autocast = recipe.low_precision and has_bf16()
    for epoch in range(len(curve) + 1, recipe.epochs + 1):
        generator = torch.Generator().manual_seed(run.seed * 100_003 + epoch)
        model.train()
        losses, hits = 0.0, 0
        for batch, chosen in enumerate(torch.randperm(len(images), generator=generator).split(recipe.batch_size)):
            done = ((epoch - 1) * batches + batch) / (recipe.epochs * batches)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, done)
            x, y = scaled(images[chosen]), labels[chosen]  # [B, 1, 28, 28] and [B]
            if recipe.augmented:
                x = augment(x, generator, shift=recipe.shift, erase=recipe.erase)
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                scores = model(x.to(memory_format=torch.channels_last))
            # cross_entropy of log-probabilities is their negative log-likelihood: a second log_softmax changes nothing.
            loss = functional.cross_entropy(scores.float(), y, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            averaged.update_parameters(model)
            losses += loss.item() * len(y)
            hits += int((scores.argmax(1) == y).sum())
            on_batch(epoch, batch + 1, batches)
        network.eval()
        # Augmented images are another data set; plain ones are measured after the epoch, as the notebook does.
        train_accuracy = hits / len(images) if recipe.augmented else accuracy(network, data.learn)
        curve.append(Epoch(epoch, losses / len(images), train_accuracy, accuracy(network, data.watch)))
        save_progress(checkpoint, run, curve, model, averaged, optimizer)
        on_epoch(curve[-1])
    return network.eval().to(memory_format=torch.contiguous_format), curve


def learning_rate(recipe: Recipe, done: float) -> float:
    """Return the rate after the fraction ``done`` of all steps.

    One cycle (Smith and Topin 2017, arXiv 1708.07120): a rise over the first 15 %, then half a cosine down to 0.
    """
    if not recipe.one_cycle:
        return recipe.learning_rate
    rise = 0.15
    if done < rise:
        return recipe.learning_rate * (0.04 + 0.96 * done / rise)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - rise) / (1 - rise)))


def weight_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Return an exponential average of weights that forgets fast at first, so that early epochs are not of noise."""

    def update(average: Tensors, current: Tensors, updates: Tensor | int) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(updates)) / (10 + int(updates))))(average, current, updates)

    return update


def has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; elsewhere it would be slower than float32."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def to_tensors(data: Dataset) -> tuple[Tensor, Tensor]:
    """Return uint8 ``[N, 1, 28, 28]`` and int64 ``[N]``."""
    return torch.from_numpy(data.images.copy()).unsqueeze(1), torch.from_numpy(data.labels.astype(np.int64))


def scaled(images: Tensor) -> Tensor:
    """Return uint8 pixels as floats in 0 to 1."""
    return images.float() / 255


@torch.inference_mode()
def accuracy(model: nn.Module, data: Dataset) -> float:
    """Return the fraction of images that the model, in eval mode, labels right."""
    images, labels = to_tensors(data)
    batches = zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True)
    return sum(int((model(scaled(x)).argmax(1) == y).sum()) for x, y in batches) / len(data)
