"""The two nets of the classroom notebook, ``cnn`` and ``cnn_bn``, without its defects."""

from torch import Tensor, nn


class ClassroomCNN(nn.Module):
    """Two convolutions and two linear layers, then log_softmax; with ``batch_norm``, BatchNorm after the first three.

    Takes float ``[N, 1, 28, 28]`` in 0 to 1, returns log-probabilities ``[N, 10]``.
    """

    def __init__(self, *, batch_norm: bool) -> None:
        """Build the net with PyTorch's default initialisation."""
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv1_bn = nn.BatchNorm2d(10) if batch_norm else nn.Identity()
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=3)
        self.conv2_bn = nn.BatchNorm2d(20) if batch_norm else nn.Identity()
        self.fc1 = nn.Linear(2000, 500)
        self.fc1_bn = nn.BatchNorm1d(500) if batch_norm else nn.Identity()
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return log-probabilities ``[N, 10]``."""
        x = self.pool(self.conv1_bn(self.conv1(x)).relu())  # [N, 10, 12, 12]
        x = self.conv2_bn(self.conv2(x)).relu()  # [N, 20, 10, 10]
        x = self.fc1_bn(self.fc1(x.flatten(1))).relu()  # [N, 500]
        logits: Tensor = self.fc2(x)
        return logits.log_softmax(dim=1)
