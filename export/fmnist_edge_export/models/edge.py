"""The default model: a small residual network whose every layer has an integer kernel in onnxruntime.

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


class Edge(nn.Module):
    """117 k parameters, 9.2 million multiply-adds.

    Takes float ``[N, 1, 28, 28]`` in 0 to 1, returns logits ``[N, classes]``.
    """

    def __init__(self, classes: int = 10) -> None:
        """Build the net with PyTorch's default initialisation."""
        super().__init__()
        self.stem = ConvNorm(1, 16)
        self.widen1 = ConvNorm(16, 32)
        self.block1 = Residual(32)
        self.widen2 = ConvNorm(32, 64)
        self.block2 = Residual(64)
        self.pool = nn.MaxPool2d(2)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[N, classes]``."""
        x = self.pool(self.stem(x).relu())  # [N, 16, 14, 14]
        x = self.block1(self.widen1(x).relu())  # [N, 32, 14, 14]
        x = self.pool(x)  # [N, 32, 7, 7]
        x = self.block2(self.widen2(x).relu())  # [N, 64, 7, 7]
        logits: Tensor = self.head(self.mean(x).flatten(1))
        return logits

    def channel_groups(self) -> list[tuple[list[ConvNorm], list[nn.Conv2d | nn.Linear]]]:
        """Return which layers write the same channels, and which read them, for every tensor inside the net.

        A factor on a channel in all its writers, and its inverse in all its readers, changes nothing: between them are
        only ReLU, pooling and sums.
        """
        one, two = self.block1, self.block2
        return [
            ([self.stem], [self.widen1.conv]),
            ([self.widen1, one.second], [one.first.conv, self.widen2.conv]),
            ([one.first], [one.second.conv]),
            ([self.widen2, two.second], [two.first.conv, self.head]),
            ([two.first], [two.second.conv]),
        ]
