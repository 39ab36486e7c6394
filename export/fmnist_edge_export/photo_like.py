"""Training images as if they had been cut out of a photograph: reshaped, retoned, their outline not quite right.

Made of Fashion-MNIST alone. What it imitates is what ``fmnist_edge_runtime.photo`` does to photographs of clothes that
lie or hang: sleeves spread, other greys, folds, bits of ground kept and bits of the article lost.
"""

import torch
from torch import Tensor
from torch.nn import functional

_TURN = 0.15  # radians at most
_WIDER = 0.35  # natural logarithm of the largest change of the aspect
_BENT = 0.04  # largest displacement, in halves of a side
_ARTICLE = 0.02  # what is lighter belongs to the article


def photo_like(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return float images ``[N, 1, H, W]`` in 0 to 1 as cut-outs of photographs: a new tensor of that shape."""
    reshaped = _reshaped(images, generator)
    article = (reshaped > _ARTICLE).float()
    seen = _cut_out(article, generator)
    stray = seen * (1 - article)  # ground that was taken for the article
    cloth = _retoned(reshaped, article, generator) * article
    ground = _uniform(len(images), 0.15, 0.95, generator) + 0.1 * _smooth_noise(images, 7, generator)
    return (cloth * seen + ground.clamp(0, 1) * stray).clamp(0, 1)


def _reshaped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, widen or narrow, and bend each article; its longest side fills the frame, as the reader does it."""
    count, _, height, width = images.shape
    article = images[:, 0] > _ARTICLE
    top, bottom = _extent(article.any(2))
    left, right = _extent(article.any(1))
    tall, wide = (bottom - top).clamp(min=1), (right - left).clamp(min=1)
    wider = _uniform(count, -_WIDER, _WIDER, generator).flatten().exp()
    longest = torch.maximum(tall, wide * wider)
    angle = _uniform(count, -_TURN, _TURN, generator).flatten()
    # From the frame, -1 to 1, back to the article's box in the image, also in -1 to 1.
    down, across = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    y, x = down[None, :, None].expand(count, height, width), across[None, None].expand(count, height, width)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    x, y = cos * x - sin * y, sin * x + cos * y
    x = x * (longest / (wide * wider))[:, None, None] + _BENT * _smooth_noise(images, 3, generator)[:, 0]
    y = y * (longest / tall)[:, None, None] + _BENT * _smooth_noise(images, 3, generator)[:, 0]
    x = ((left + right) / width - 1)[:, None, None] + x * (wide / width)[:, None, None]
    y = ((top + bottom) / height - 1)[:, None, None] + y * (tall / height)[:, None, None]
    return functional.grid_sample(images, torch.stack([x, y], -1), mode="bilinear", align_corners=False)


def _extent(present: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first index and one past the last, float ``[N]``, at which ``present`` ``[N, L]`` is true."""
    length = present.shape[1]
    positions = torch.arange(length, dtype=torch.float32)
    first = torch.where(present, positions, torch.full((), float(length))).amin(1).clamp(max=length - 1)
    return first, torch.where(present, positions + 1, torch.zeros(())).amax(1)


def _cut_out(article: Tensor, generator: torch.Generator) -> Tensor:
    """Return masks like those of the articles, 0 or 1: some eaten into, some with ground left on, all rough."""
    near = functional.avg_pool2d(article, 3, stride=1, padding=1, count_include_pad=False)  # 1 inside, 0 outside
    rough = _uniform(len(article), 0.0, 0.25, generator) * _smooth_noise(article, 8, generator)
    grown = _uniform(len(article), -0.1, 0.1, generator)
    return (near + rough + grown > 0.45).float()


def _retoned(images: Tensor, article: Tensor, generator: torch.Generator) -> Tensor:
    """Give each article other greys: less or more contrast, folds, lighter or darker."""
    count = len(images)
    pixels = article.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (images * article).sum((2, 3), keepdim=True) / pixels
    contrast = _uniform(count, 0.6, 1.2, generator)
    folds = _uniform(count, 0.0, 0.08, generator) * _smooth_noise(images, 5, generator)
    lighter = _uniform(count, -0.15, 0.15, generator)
    return (mean + contrast * (images - mean) + folds + lighter).clamp(_ARTICLE, 1)


def _smooth_noise(like: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Return noise ``[N, 1, H, W]`` with about unit variance that varies over ``side`` places each way."""
    coarse = torch.randn(len(like), 1, side, side, generator=generator)
    return functional.interpolate(coarse, size=like.shape[2:], mode="bicubic", align_corners=True)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Return ``[count, 1, 1, 1]`` draws."""
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)
