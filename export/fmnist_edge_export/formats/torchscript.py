"""TorchScript: traced and frozen, without any path of this machine.

torch's own archive holds the paths of the sources it was traced from, so it is written again without them.
"""

import io
import zipfile

import numpy as np
import torch
from torch import Tensor, nn

from fmnist_edge_export.formats.quiet import quiet
from fmnist_edge_export.formats.torchscript_file import archive_of
from fmnist_edge_runtime.contract import Contract
from fmnist_edge_runtime.errors import ModelError, first_line
from fmnist_edge_runtime.selftest import Replay, replay
from fmnist_edge_runtime.session import Floats, Images, Scorer

# Source paths and lines, and an identifier that torch derives from them.
_OF_THIS_MACHINE = (".debug_pkl", "/.data/serialization_id")


class Contracted(nn.Module):
    """The signature of the contract around a network that maps pixels 0 to 1 to logits."""

    def __init__(self, scores: nn.Module, temperature: float) -> None:
        """Wrap ``scores``."""
        super().__init__()
        self.scores, self.temperature = scores, temperature

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities, float32 ``[N, K]``, for uint8 ``[N, H, W]``."""
        logits = self.scores(images.unsqueeze(1).to(torch.float32) / 255)
        return logits, (logits / self.temperature).softmax(dim=1)


def trace(contracted: nn.Module, height: int, width: int) -> bytes:
    """Return the archive of a traced and frozen module, without source paths.

    Raises:
        ModelError: torch cannot trace it.
    """
    buffer = io.BytesIO()
    example = torch.zeros(2, height, width, dtype=torch.uint8, device="cpu")
    with quiet():  # torch warns of what tracing may get wrong, for which the proofs are there
        try:
            frozen = torch.jit.freeze(torch.jit.trace(contracted.eval(), example, check_trace=False))
            torch.jit.save(frozen, buffer)
        except Exception as error:  # whatever a module does that it cannot follow
            raise ModelError(
                f"torch.jit cannot trace the module ({first_line(error)}); leave torchscript out"
            ) from error
    with zipfile.ZipFile(buffer) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if not name.endswith(_OF_THIS_MACHINE)}
    return archive_of(members)


def load(content: bytes) -> Scorer:
    """Return a function that runs a checked TorchScript file: uint8 ``[N, H, W]`` to logits and probabilities."""
    with quiet():  # torch.jit is called deprecated
        return run_by(torch.jit.load(io.BytesIO(content), map_location="cpu"))


def load_and_replay(content: bytes, contract: Contract, source: str) -> tuple[Scorer, Replay]:
    """Return what :func:`load` does, and what the file's self-test gives here.

    Raises:
        ModelError: torch cannot run the file, which came from ``source``; what is returned raises it as well.
    """
    try:
        run = load(content)
        replayed = replay(contract, run)
    except Exception as error:  # of a forged file anything: its code is its own
        raise _cannot_run(source, error) from error

    def scores(images: Images) -> tuple[Floats, Floats]:
        try:
            return run(images)
        except Exception as error:  # also after its self-test: its batch may be frozen at that number of pictures
            raise _cannot_run(source, error) from error

    return scores, replayed


def _cannot_run(source: str, error: Exception) -> ModelError:
    return ModelError(f"{source}: torch cannot run it ({first_line(error)}); export it again")


def run_by(module: nn.Module) -> Scorer:
    """Return a function that runs a module of the contract's signature on arrays."""

    def run(images: Images) -> tuple[Floats, Floats]:
        try:
            with torch.inference_mode():
                logits, probabilities = module(torch.from_numpy(np.array(images)))
        except RuntimeError as error:  # of the interpreter: a heading, a trace, and at the end what is wrong
            *_, last = str(error).strip().splitlines() or [type(error).__name__]
            raise RuntimeError(last) from error
        return logits.numpy(), probabilities.numpy()

    return run
