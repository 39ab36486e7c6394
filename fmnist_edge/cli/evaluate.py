"""``fmnist-edge evaluate``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fmnist_edge.cli.console import Data, Quiet, Threads, named_path, one_line_errors, progress, show


@one_line_errors
def evaluate(
    file: Annotated[
        Path | None, typer.Argument(parser=named_path, metavar="[FILE]", help="An ONNX file. [default: edge, int8]")
    ] = None,
    data: Data = None,
    threads: Threads = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    quiet: Quiet = False,
) -> None:
    """Measure a model file on the 10,000 test images: accuracy, NLL, ECE, confusion matrix.

    \b
    fmnist-edge evaluate
    fmnist-edge evaluate artifacts/edge/edge.onnx --json
    """
    from dataclasses import asdict

    from fmnist_edge_export.calibration import BINS
    from fmnist_edge_export.data import LABELS, load
    from fmnist_edge_export.evaluate import evaluate as evaluate_file
    from fmnist_edge_runtime.bundled import bundled_model
    from fmnist_edge_runtime.classifier import Classifier
    from fmnist_edge_runtime.errors import ModelError

    path = file or bundled_model()
    with Classifier(path, threads=threads) as classifier:
        contract = classifier.contract
        if (contract.labels, contract.height, contract.width) != (LABELS, 28, 28):
            raise ModelError(f"{path}: its labels or picture size are not Fashion-MNIST's; it cannot be measured on it")
        test = load("test", data)
        with progress(len(test), "evaluating", quiet=quiet) as advance:
            result = evaluate_file(classifier, test, advance)
    if as_json:
        show(json.dumps({"path": str(path.resolve()), **asdict(result)}))
        return
    show(f"images     {result.images:,}")
    show(f"accuracy   {result.accuracy:.2%}")
    show(f"NLL        {result.nll:.4f}")
    show(f"ECE        {result.ece:.2%} ({BINS} equal bins)")
    show(f"known      {result.known:.2%}")
    show("")
    show("confusion: rows are what it is, columns what it was called, in the same order")
    width = max(map(len, result.labels))
    for label, row in zip(result.labels, result.confusion, strict=True):
        show(f"{label:{width}} " + "".join(f"{count:5d}" for count in row))
