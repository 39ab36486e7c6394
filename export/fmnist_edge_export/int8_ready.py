"""Rewriting a trained network into an almost equal one that loses little when its numbers become 8-bit."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from fmnist_edge_export.formats.exact_products import LARGEST, largest_together, neighbours
from fmnist_edge_export.models.residual import ConvNorm, ResidualNet

_BATCH = 128  # images of which moments are taken at once
_DAMPING = 0.01  # of the mean of the moments' diagonal, as in the paper
_DEAD = 1e-5  # a channel whose factor and offset are below it says nothing


@torch.no_grad()
def make_ready_for_int8(model: ResidualNet, pixels: Tensor) -> None:
    """Even out the channels' ranges over ``pixels`` (float ``[M, 1, H, W]``), then round the weights, in place."""
    equalise(model, pixels)
    for layer, moments in input_moments(model, pixels).items():
        round_to_int8(layer, moments)


def equalise(model: ResidualNet, pixels: Tensor) -> None:
    """Bring the channels of each tensor closer in range, so that 8 bits for the whole tensor suit every channel.

    Each channel is divided by the square root of its largest value, up to a common factor, and its readers' weights are
    multiplied by it. The function of the network does not change (cross-layer equalisation: Nagel et al. 2019, arXiv
    1906.04721, section 4.1). Channels that have died, as weight decay leaves them, become exactly 0: neither integers
    nor the arithmetic of floats suits numbers as small as theirs.
    """
    for writers, readers in model.channel_groups():
        largest = torch.stack([_largest_outputs(model, writer, pixels) for writer in writers]).amax(dim=0)  # [channels]
        dead = torch.stack([_bury_the_dead(writer) for writer in writers]).all(dim=0)
        factor = torch.where(dead, 1.0, largest.clamp_min(1e-3)).sqrt()
        factor /= factor.log().mean().exp()
        for writer in writers:
            writer.norm.weight.div_(factor)
            writer.norm.bias.div_(factor)
        for reader in readers:
            reader.weight *= factor.masked_fill(dead, 0.0).reshape(1, -1, *[1] * (reader.weight.dim() - 2))


def input_moments(model: ResidualNet, pixels: Tensor) -> dict[nn.Conv2d, Tensor]:
    """Return, for each 3x3 convolution, the second moments ``[I * 9, I * 9]`` of what its kernel is laid on."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    found = {layer: torch.zeros(layer.in_channels * 9, layer.in_channels * 9) for layer in layers}

    def add(layer: nn.Conv2d, inputs: tuple[Tensor], _: Tensor) -> None:
        windows = functional.unfold(inputs[0], 3, padding=1).transpose(0, 1).flatten(1)  # [I * 9, windows]
        found[layer] += windows @ windows.T

    hooks = [layer.register_forward_hook(add) for layer in layers]
    for batch in pixels.split(_BATCH):
        model(batch)
    for hook in hooks:
        hook.remove()
    return found


def round_to_int8(layer: nn.Conv2d, moments: Tensor) -> None:
    """Round a convolution's weights to even steps per output channel, no larger than x86 multiplies exactly.

    One input after another is rounded, and what that changes is made good by the inputs still to come, as far as they
    move together over ``moments`` (GPTQ: Frantar et al. 2023, arXiv 2210.17323, section 3).

    BatchNorm folds into a factor per output channel, so the folded weights are on such a grid as well: the int8 form
    then holds the float model's very weights, and only activations are rounded. For that the weight, or the pair of
    them, that the step follows from keeps its size.
    """
    weights = layer.weight.flatten(1).double()
    largest = torch.from_numpy(largest_together(weights.numpy(), layer.in_channels))
    step = largest.clamp_min(1e-12)[:, None] / LARGEST
    first, second = map(torch.from_numpy, neighbours(layer.in_channels, layer.weight[0, 0].numel()))
    steps = weights / step
    whole = _steps_that_stay(steps, first, second)  # 0 where nothing is decided yet
    stay = whole != 0
    damping = _DAMPING * moments.diagonal().mean().clamp_min(1e-6)
    damped = moments.double() + damping * torch.eye(len(moments), dtype=torch.float64)
    factor = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    for number in range(len(damped)):
        beside = whole[:, torch.cat([second[first == number], first[second == number]])]
        beside = functional.pad(beside, (0, 1))  # the last weight may have none
        nearest = steps[:, number].round().clamp(-LARGEST - beside.amin(dim=1), LARGEST - beside.amax(dim=1))
        whole[:, number] = torch.where(stay[:, number], whole[:, number], nearest)
        error = (steps[:, number] - whole[:, number]) / factor[number, number]
        steps[:, number:] -= error[:, None] * factor[number, number:]
    layer.weight.copy_((whole * step).view_as(layer.weight))


def _steps_that_stay(steps: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return, for each kernel of ``steps`` ``[outputs, inputs * 9]``, the largest weight, or the largest two that meet.

    They are ``LARGEST`` together; all else is 0.
    """
    decided = torch.zeros_like(steps)
    together = (steps[:, first] + steps[:, second]) * (steps[:, first].sign() == steps[:, second].sign())
    for kernel, pairs, result in zip(steps, together, decided, strict=True):
        alone, pair = kernel.abs().argmax(), pairs.abs().argmax()
        if kernel[alone].abs() >= pairs[pair].abs():
            result[alone] = kernel[alone].round()
        else:
            result[first[pair]] = kernel[first[pair]].round()
            result[second[pair]] = pairs[pair].round() - result[first[pair]]
    return decided


def _bury_the_dead(layer: ConvNorm) -> Tensor:
    """Make exactly 0 all that is left of a layer's dead channels; return which they are."""
    dead = (layer.norm.weight.abs() < _DEAD) & (layer.norm.bias.abs() < _DEAD)
    for values in (layer.conv.weight, layer.norm.weight, layer.norm.bias):
        values[dead] = 0.0
    return dead


def _largest_outputs(model: nn.Module, layer: nn.Module, pixels: Tensor) -> Tensor:
    found: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _, __, output: found.append(output.amax(dim=(0, 2, 3))))
    model(pixels)
    hook.remove()
    return found[0]
