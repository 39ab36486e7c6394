"""A network reduced to one promise: pixels 0 to 1 in, logits out."""

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class SkipLogSoftmax(TorchFunctionMode):
    """Inside this mode log_softmax returns what it is given, so that a net which ends in one gives its logits."""

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        """Call ``func``, unless it is a log_softmax."""
        if func in (torch.log_softmax, nn.functional.log_softmax, Tensor.log_softmax):
            return args[0] if args else (kwargs or {})["input"]
        return func(*args, **(kwargs or {}))


class Scores(nn.Module):
    """Takes pixels 0 to 1 as float ``[N, 1, H, W]``, normalises them as ``module`` wants, returns logits ``[N, K]``."""

    def __init__(self, module: nn.Module, mean: float, std: float) -> None:
        """Wrap ``module``."""
        super().__init__()
        self.module, self.mean, self.std = module, mean, std

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits, float32 ``[N, K]``."""
        # Left out where it would do nothing: it would cost time, and keep int8 from taking raw pixels as they are.
        if (self.mean, self.std) != (0.0, 1.0):
            pixels = (pixels - self.mean) / self.std
        with SkipLogSoftmax():
            scores: Tensor = self.module(pixels)
        return scores if scores.dtype == torch.float32 else scores.float()
