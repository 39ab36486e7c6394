"""Rewriting a trained network into an almost equal one that loses little when its numbers become 8-bit."""

import torch
from torch import Tensor, nn

from fmnist_edge_export.models.residual import ResidualNet


@torch.no_grad()
def make_ready_for_int8(model: ResidualNet, pixels: Tensor) -> None:
    """Even out the channels' ranges over ``pixels`` (float ``[M, 1, H, W]``), then round the weights, in place."""
    equalise(model, pixels)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            round_to_int8(layer)


def equalise(model: ResidualNet, pixels: Tensor) -> None:
    """Bring the channels of each tensor closer in range, so that 8 bits for the whole tensor suit every channel.

    Each channel is divided by the square root of its largest value, up to a common factor, and its readers' weights are
    multiplied by it. The function of the network does not change (cross-layer equalisation: Nagel et al. 2019, arXiv
    1906.04721, section 4.1).
    """
    for writers, readers in model.channel_groups():
        largest = torch.stack([_largest_outputs(model, writer, pixels) for writer in writers]).amax(dim=0)  # [channels]
        factor = largest.clamp_min(1e-3).sqrt()
        factor /= factor.log().mean().exp()
        for writer in writers:
            writer.norm.weight.div_(factor)
            writer.norm.bias.div_(factor)
        for reader in readers:
            reader.weight *= factor.reshape(1, -1, *[1] * (reader.weight.dim() - 2))


def round_to_int8(layer: nn.Conv2d) -> None:
    """Round a convolution's weights to 255 even steps per output channel.

    BatchNorm folds into a factor per output channel, so the folded weights are on such a grid as well: the int8 form
    then holds the float model's very weights, and only activations are rounded.
    """
    step = layer.weight.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12) / 127
    layer.weight.copy_((layer.weight / step).round() * step)


def _largest_outputs(model: nn.Module, layer: nn.Module, pixels: Tensor) -> Tensor:
    found: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _, __, output: found.append(output.amax(dim=(0, 2, 3))))
    model(pixels)
    hook.remove()
    return found[0]
