"""Skipping, in each epoch, part of what is learned already."""

import torch
from torch import Tensor

FULL = 0.125  # the share of epochs, the last ones, that skip nothing


def chosen_images(losses: Tensor, share: float, done: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the indices of the images to learn from in this epoch, shuffled, and the weight ``[N]`` of each image.

    Of the images whose latest loss is below the mean, ``share`` are skipped, at random; the others of them count
    ``1 / (1 - share)`` times, so that the expected gradient stays (InfoBatch: Qin et al. 2023, arXiv 2303.04947).
    ``losses`` ``[N]`` are infinite for images not seen yet, ``done`` is the share of epochs behind.
    """
    weights = torch.ones(len(losses))
    keep = torch.ones(len(losses), dtype=torch.bool)
    if share and losses.isfinite().all() and done < 1 - FULL:
        easy = losses < losses.mean()
        keep = ~(easy & (torch.rand(len(losses), generator=generator) < share))
        weights[easy] = 1 / (1 - share)
    kept = keep.nonzero()[:, 0]
    return kept[torch.randperm(len(kept), generator=generator)], weights
