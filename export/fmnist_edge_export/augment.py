"""Augmentation on whole batches of tensors, each image with draws of its own."""

import torch
from torch import Tensor
from torch.nn import functional


def augment(images: Tensor, generator: torch.Generator, *, shift: int, erase: float) -> Tensor:
    """Flip, shift and erase float images ``[N, 1, H, W]`` in 0 to 1; returns a new tensor of that shape.

    Half of the images are mirrored, each is moved by up to ``shift`` pixels either way over black, and with
    probability ``erase`` a rectangle is filled with noise (random erasing: Zhong et al. 2017, arXiv 1708.04896).
    """
    return _erase(_flip_and_shift(images, generator, shift), generator, erase)


def _flip_and_shift(images: Tensor, generator: torch.Generator, shift: int) -> Tensor:
    count, _, height, width = images.shape
    padded = functional.pad(images[:, 0], (shift, shift, shift, shift))  # [N, H + 2s, W + 2s]
    top, left = torch.randint(0, 2 * shift + 1, (2, count, 1), generator=generator)
    rows = top + torch.arange(height)  # [N, H]
    columns = left + torch.arange(width)  # [N, W]
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    which = torch.arange(count)[:, None, None]
    return padded[which, rows[:, :, None], columns[:, None, :]].unsqueeze(1)


def _erase(images: Tensor, generator: torch.Generator, probability: float) -> Tensor:
    count, _, height, width = images.shape
    chosen = torch.rand(count, generator=generator) < probability
    # Area 2 to 33 % of the picture and aspect 0.3 to 3.3: the ranges of the paper, section 3.
    area = torch.empty(count).uniform_(0.02, 0.33, generator=generator) * height * width
    aspect = torch.empty(count).uniform_(-1.204, 1.194, generator=generator).exp()
    tall = (area * aspect).sqrt().clamp(1, height).round()
    wide = (area / aspect).sqrt().clamp(1, width).round()
    top = (torch.rand(count, generator=generator) * (height - tall + 1)).floor()
    left = (torch.rand(count, generator=generator) * (width - wide + 1)).floor()
    inside_rows = _between(torch.arange(height), top, tall)  # [N, H]
    inside_columns = _between(torch.arange(width), left, wide)  # [N, W]
    hole = inside_rows[:, :, None] & inside_columns[:, None, :] & chosen[:, None, None]
    noise = torch.rand(images.shape, generator=generator)
    return torch.where(hole.unsqueeze(1), noise, images)


def _between(positions: Tensor, start: Tensor, length: Tensor) -> Tensor:
    return (positions >= start[:, None]) & (positions < (start + length)[:, None])
