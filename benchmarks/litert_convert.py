"""Convert the trained `edge` with litert-torch: what `peers.py --convert` runs in an environment of its own.

    python benchmarks/litert_convert.py OUT

Writes OUT/edge.tflite, which takes pixels 0 to 1, and OUT/edge.int8.tflite, quantised statically by its own quantiser
with 250 pictures of the sample; both give probabilities, for one picture at a time.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "export"), str(ROOT / "runtime")]  # the project itself wants another torch

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe

from fmnist_edge_export.data import load_sample
from fmnist_edge_export.formats.scores import Scores
from fmnist_edge_export.record import Record, load_model


class Probabilities(torch.nn.Module):
    """The trained network from pixels 0 to 1 to probabilities."""

    def __init__(self, module: torch.nn.Module, record: Record) -> None:
        """Wrap ``module``."""
        super().__init__()
        self.scores, self.temperature = Scores(module, record.mean, record.std), record.temperature

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return ``[N, K]`` for float ``[N, H, W]``."""
        return (self.scores(pixels.unsqueeze(1)) / self.temperature).softmax(1)


def main(out: Path) -> None:
    """Write both files."""
    module, record = load_model(ROOT / "artifacts/edge/edge.safetensors")
    example = (torch.zeros(1, record.height, record.width),)
    floats = out / "edge.tflite"
    litert_torch.convert(Probabilities(module, record).eval(), example).export(str(floats))
    signature, values = next(iter(Interpreter(str(floats)).get_signature_list().items()))
    pixels = (load_sample().images[::4] / np.float32(255)).astype(np.float32)
    examples = {signature: [{values["inputs"][0]: picture[None]} for picture in pixels]}
    quantiser = quantizer.Quantizer(str(floats), recipe.static_wi8_ai8())
    integers = quantiser.quantize(quantiser.calibrate(examples))
    integers.export_model(str(out / "edge.int8.tflite"), overwrite=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
