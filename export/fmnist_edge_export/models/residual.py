"""Residual networks whose every convolution has an integer kernel in onnxruntime.

Residual blocks after He, Zhang, Ren and Sun 2015 (arXiv 1512.03385, section 3). Full resolution in the first
layer and pooling after it: at the same cost, more accurate here than a stem with stride 2.
"""

from torch import Tensor, nn


class ConvNorm(nn.Module):
    """A 3x3 convolution that keeps the size, then BatchNorm, which folds into it at export."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Build the pair."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[N, outputs, H, W]`` for ``[N, inputs, H, W]``."""
        normalised: Tensor = self.norm(self.conv(x))
        return normalised


class Residual(nn.Module):
    """Two 3x3 convolutions with a skip around them."""

    def __init__(self, width: int) -> None:
        """Build a block that keeps ``width`` channels."""
        super().__init__()
        self.first = ConvNorm(width, width)
        self.second = ConvNorm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of ``x``."""
        branch: Tensor = self.second(self.first(x).relu())
        return (x + branch).relu()

    def begin_as_identity(self) -> None:
        """Make the block pass on what it takes, in which nothing is below 0, until it is trained.

        The branch's last factors are 0, as Goyal et al. 2017 (arXiv 1706.02677, section 5.1) begin all blocks.
        """
        nn.init.zeros_(self.second.norm.weight)
        nn.init.zeros_(self.second.norm.bias)


class ResidualNet(nn.Module):
    """Three stages, each a convolution that widens and then residual blocks, with pooling between them.

    Takes float ``[N, 1, 28, 28]`` in 0 to 1, returns logits ``[N, 10]``.
    """

    def __init__(self, widths: tuple[int, int, int], blocks: tuple[int, int, int]) -> None:
        """Build the net with PyTorch's default initialisation.

        ``widths`` are the channels, and ``blocks`` the residual blocks, at 28 x 28, 14 x 14 and 7 x 7.
        """
        super().__init__()
        full, half, quarter = widths
        self.stem = ConvNorm(1, full)
        self.blocks0 = nn.Sequential(*(Residual(full) for _ in range(blocks[0])))
        self.widen1 = ConvNorm(full, half)
        self.blocks1 = nn.Sequential(*(Residual(half) for _ in range(blocks[1])))
        self.widen2 = ConvNorm(half, quarter)
        self.blocks2 = nn.Sequential(*(Residual(quarter) for _ in range(blocks[2])))
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(quarter, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[N, 10]``."""
        x = self.blocks0(self.stem(x).relu())  # [N, full, 28, 28]
        x = self.blocks1(self.widen1(self.pool(x)).relu())  # [N, half, 14, 14]
        x = self.blocks2(self.widen2(self.pool(x)).relu())  # [N, quarter, 7, 7]
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits

    def channel_groups(self) -> list[tuple[list[ConvNorm], list[nn.Conv2d | nn.Linear]]]:
        """Return which layers write the same channels, and which read them, for every tensor inside the net.

        A factor on a channel in all its writers, and its inverse in all its readers, changes nothing: between them are
        only ReLU, pooling and sums.
        """
        stages: list[tuple[ConvNorm, nn.Sequential, nn.Conv2d | nn.Linear]] = [
            (self.stem, self.blocks0, self.widen1.conv),
            (self.widen1, self.blocks1, self.widen2.conv),
            (self.widen2, self.blocks2, self.head),
        ]
        groups: list[tuple[list[ConvNorm], list[nn.Conv2d | nn.Linear]]] = []
        for first, blocks, last in stages:
            residuals = [block for block in blocks if isinstance(block, Residual)]
            writers, readers = [block.second for block in residuals], [block.first.conv for block in residuals]
            groups.append(([first, *writers], [*readers, last]))
            groups += [([block.first], [block.second.conv]) for block in residuals]
        return groups
