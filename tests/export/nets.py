"""A net to export."""

import torch
from torch import nn


class Small(nn.Module):
    """One layer from pixels to four scores; `last` comes after it."""

    def __init__(self, pixels=784, last=None):
        super().__init__()
        torch.manual_seed(1)
        self.linear = nn.Linear(pixels, 4)
        self.last = last or nn.Identity()

    def forward(self, x):
        return self.last(self.linear(x.flatten(1)) * 3)
