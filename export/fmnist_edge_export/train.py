"""The training loop, top to bottom."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fmnist_edge_export.augment import augment
from fmnist_edge_export.data import Dataset
from fmnist_edge_export.distil import distillation_loss, soft_labels
from fmnist_edge_export.models import build
from fmnist_edge_export.models.residual import Residual
from fmnist_edge_export.photo_like import photo_like
from fmnist_edge_export.progress import Epoch, Run, restore_progress, save_progress
from fmnist_edge_export.prune import chosen_images
from fmnist_edge_export.recipes import Recipe
from fmnist_edge_export.strangers import doubt_loss, strangers, turned
from fmnist_edge_export.training_state import TrainingState, new_state
from fmnist_edge_runtime.errors import ModelError, first_line
from fmnist_edge_runtime.session import Scorer

log = logging.getLogger(__name__)

_CHUNK = 5000  # images augmented at once
_BATCH = 500  # images measured at once


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
    teachers: Sequence[Scorer] = (),
    beginning: Mapping[str, Tensor] | None = None,
    resume: bool = False,
    on_batch: Callable[[int, int, int], None] = lambda epoch, batch, batches: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> tuple[nn.Module, list[Epoch]]:
    """Train a model of the kit; return it in eval mode, with its curve.

    ``beginning`` are the weights, by name, of the model that the recipe begins as. What the network says is the same
    at first, also where it has more residual blocks than that model.

    After each epoch ``checkpoint`` is replaced atomically, so an interruption costs at most one epoch. Every random
    draw follows from the recipe's seed and the epoch's number: a run resumed or repeated on the same machine with the
    same number of threads gives the same weights.

    Raises:
        ModelError: ``beginning`` is of another shape, there is nothing to resume, or the loss is no number any more.
        ValueError: ``beginning`` is missing, or the recipe begins as nothing.
    """
    recipe = run.recipe
    torch.manual_seed(recipe.seed)
    images, labels = to_tensors(data.learn)
    model = build(run.architecture)
    if (beginning is not None) != bool(recipe.begins_as):
        raise ValueError(f"weights to begin with are needed where a recipe begins as a model: {recipe.begins_as!r}")
    if beginning is not None:
        _load(model, beginning, run)
    model.to(memory_format=torch.channels_last)
    state = new_state(model, recipe, len(images))
    curve = restore_progress(checkpoint, run, state) if resume else []
    if recipe.strangers and not curve:
        log.info("drawing %s pictures of no garment", f"{recipe.strangers:,}")
        state.strangers = torch.from_numpy(strangers(data.learn.images, recipe.strangers, recipe.seed)).unsqueeze(1)
    network = state.averaged.module if recipe.average_decay else model  # what the run is about
    for epoch in range(len(curve) + 1, recipe.epochs + 1):
        lesson = prepare(epoch, images, labels, recipe, state, teachers)
        model.train()
        loss, train_accuracy = learn(epoch, lesson, recipe, state, on_batch)
        if not math.isfinite(loss):
            raise ModelError(f"{run.architecture}: the loss of epoch {epoch} is {loss}; train at a lower rate")
        network.eval()
        if not recipe.augmented:  # augmented images are another data set; plain ones are measured after the epoch
            train_accuracy = accuracy(network, data.learn)
        curve.append(Epoch(epoch, loss, train_accuracy, accuracy(network, data.watch)))
        save_progress(checkpoint, run, curve, state)
        on_epoch(curve[-1])
    return network.eval().to(memory_format=torch.contiguous_format), curve


def _load(model: nn.Module, beginning: Mapping[str, Tensor], run: Run) -> None:
    """Take the weights to begin with; a residual block that they know nothing of begins as the identity."""
    weights = dict(beginning)
    for name, block in model.named_modules():
        if isinstance(block, Residual) and f"{name}.first.conv.weight" not in weights:
            block.begin_as_identity()
            weights |= {f"{name}.{key}": value for key, value in block.state_dict().items()}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        words = f"its weights do not fit {run.architecture} ({first_line(error)})"
        raise ModelError(f"{run.recipe.begins_as}: {words}; train it again") from error


@dataclass(frozen=True)
class Lesson:
    """What one epoch learns from.

    ``images`` uint8 ``[N, 1, H, W]`` as they are seen, ``labels`` ``[N]``, ``soft`` the teachers' answers ``[N, K]`` if
    there are teachers; ``order`` the indices to go through, ``weights`` ``[N]`` what each image counts; ``strangers``
    uint8 ``[S, 1, H, W]`` pictures of no garment, of which ``choices`` ``[batches, n]`` names those of each batch.
    """

    images: Tensor
    labels: Tensor
    soft: Tensor | None
    order: Tensor
    weights: Tensor
    strangers: Tensor
    choices: Tensor


def prepare(
    epoch: int, images: Tensor, labels: Tensor, recipe: Recipe, state: TrainingState, teachers: Sequence[Scorer]
) -> Lesson:
    """Augment the images, ask the teachers where they were not asked before, choose what to skip."""
    view = (epoch - 1) % recipe.views if recipe.views else epoch - 1
    seen = augmented_view(images, view, recipe) if recipe.augmented else images
    if teachers and view not in state.soft_labels:
        log.info("asking the teachers about view %d of %d", view + 1, min(recipe.views or recipe.epochs, recipe.epochs))
        state.soft_labels[view] = soft_labels(teachers, seen, recipe)
    generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
    order, weights = chosen_images(state.losses, recipe.skip, (epoch - 1) / recipe.epochs, generator)
    batches = math.ceil(len(order) / recipe.batch_size)
    # One generator: what is drawn, and in which order, decides every result.
    shown = _some_photo_like(seen, recipe.photo_like, generator) if recipe.photo_like else seen
    strangers = turned(state.strangers, generator)
    choices = torch.randint(max(1, len(strangers)), (batches, recipe.strangers_per_batch), generator=generator)
    return Lesson(
        images=shown,
        labels=labels,
        soft=state.soft_labels.get(view),
        order=order,
        weights=weights,
        strangers=strangers,
        choices=choices,
    )


def _some_photo_like(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Show a share of uint8 images as if cut out of photographs; what the teachers say of them stays true."""
    chosen = (torch.rand(len(images), generator=generator) < share).nonzero()[:, 0]
    changed = images.clone()
    for part in chosen.split(_CHUNK):
        changed[part] = to_bytes(photo_like(scaled(images[part]), generator))
    return changed


def learn(
    epoch: int, lesson: Lesson, recipe: Recipe, state: TrainingState, on_batch: Callable[[int, int, int], None]
) -> tuple[float, float]:
    """Go through a lesson once; return the mean loss of all images and the share of those seen that were right."""
    batches = lesson.order.split(recipe.batch_size)
    losses, hits = 0.0, 0
    for number, chosen in enumerate(batches):
        state.set_rate(rate((epoch - 1 + number / len(batches)) / recipe.epochs, recipe))
        labels = lesson.labels[chosen]
        shown = torch.cat([lesson.images[chosen], lesson.strangers[lesson.choices[number]]])
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            answers = state.model(scaled(shown).to(memory_format=torch.channels_last)).float()
        scores, doubtful = answers[: len(chosen)], answers[len(chosen) :]
        loss = _loss(scores, labels, None if lesson.soft is None else lesson.soft[chosen], recipe)
        weighted = loss * lesson.weights[chosen]
        state.step(weighted.mean() + doubt_loss(doubtful))
        state.losses[chosen] = loss.detach()
        losses += float(weighted.detach().sum())
        hits += int((scores.argmax(1) == labels).sum())
        on_batch(epoch, number + 1, len(batches))
    return losses / len(lesson.labels), hits / len(lesson.order)


def augmented_view(images: Tensor, view: int, recipe: Recipe) -> Tensor:
    """Return uint8 ``[N, 1, H, W]``: each image augmented once, the same way whenever this view is asked for."""
    generator = torch.Generator().manual_seed(recipe.seed * 100_003 + 50_000 + view)
    parts = [augment(scaled(x), generator, shift=recipe.shift, erase=recipe.erase) for x in images.split(_CHUNK)]
    return torch.cat([to_bytes(part) for part in parts])


def _loss(logits: Tensor, labels: Tensor, soft: Tensor | None, recipe: Recipe) -> Tensor:
    if soft is not None:
        return distillation_loss(logits, labels, soft, recipe)
    # cross_entropy of log-probabilities is their negative log-likelihood: a second log_softmax changes nothing.
    return functional.cross_entropy(logits, labels, reduction="none")


def rate(done: float, recipe: Recipe) -> float:
    """Return the factor on the learning rates after the fraction ``done`` of all steps.

    One cycle (Smith and Topin 2017, arXiv 1708.07120): a rise over the first 15 %, then half a cosine down to 0.
    """
    if not recipe.one_cycle:
        return 1.0
    rise = 0.15
    if done < rise:
        return 0.04 + 0.96 * done / rise
    return 0.5 * (1 + math.cos(math.pi * (done - rise) / (1 - rise)))


def to_tensors(data: Dataset) -> tuple[Tensor, Tensor]:
    """Return uint8 ``[N, 1, 28, 28]`` and int64 ``[N]``."""
    return torch.from_numpy(data.images.copy()).unsqueeze(1), torch.from_numpy(data.labels.astype(np.int64))


def scaled(images: Tensor) -> Tensor:
    """Return uint8 pixels as floats in 0 to 1."""
    return images.float() / 255


def to_bytes(images: Tensor) -> Tensor:
    """Return pixels from 0 to 1 as uint8."""
    return (255 * images).round().to(torch.uint8)


@torch.inference_mode()
def accuracy(model: nn.Module, data: Dataset) -> float:
    """Return the fraction of images that the model, in eval mode, labels right."""
    images, labels = to_tensors(data)
    batches = zip(images.split(_BATCH), labels.split(_BATCH), strict=True)
    return sum(int((model(scaled(x)).argmax(1) == y).sum()) for x, y in batches) / len(data)
