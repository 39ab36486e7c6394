"""The default model: a small residual network whose every layer has an integer kernel in onnxruntime.

Residual blocks after He, Zhang, Ren and Sun 2015 (arXiv 1512.03385, section 3). Full resolution in the first
layer and pooling after it: at the same cost, more accurate here than a stem with stride 2.
"""

from torch import Tensor, nn


def conv_bn(inputs: int, outputs: int) -> nn.Sequential:
    """Return a 3x3 convolution of the same size followed by BatchNorm, which folds into it at export."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """Two 3x3 convolutions with a skip around them."""

    def __init__(self, width: int) -> None:
        """Build a block that keeps ``width`` channels."""
        super().__init__()
        self.first = conv_bn(width, width)
        self.second = conv_bn(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of ``x``."""
        return (x + self.second(self.first(x).relu())).relu()


class Edge(nn.Module):
    """117 k parameters, 9.2 million multiply-adds.

    Takes float ``[N, 1, 28, 28]`` in 0 to 1, returns logits ``[N, classes]``.
    """

    def __init__(self, classes: int = 10) -> None:
        """Build the net with PyTorch's default initialisation."""
        super().__init__()
        self.stem = conv_bn(1, 16)
        self.widen1 = conv_bn(16, 32)
        self.block1 = Residual(32)
        self.widen2 = conv_bn(32, 64)
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
        return self.head(self.mean(x).flatten(1))

    def channel_groups(self) -> list[tuple[list[nn.Sequential], list[nn.Module]]]:
        """Return which layers write the same channels, and which read them, for every tensor inside the net.

        A factor on channels of all writers, and its inverse on all readers, changes nothing: between them are only
        ReLU, pooling and sums.
        """
        first, second = self.block1, self.block2
        return [
            ([self.stem], [self.widen1[0]]),
            ([self.widen1, first.second], [first.first[0], self.widen2[0]]),
            ([first.first], [first.second[0]]),
            ([self.widen2, second.second], [second.first[0], self.head]),
            ([second.first], [second.second[0]]),
        ]
