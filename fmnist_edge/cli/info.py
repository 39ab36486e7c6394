"""``fmnist-edge info``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fmnist_edge.cli.console import named_path, one_line_errors, show


@one_line_errors
def info(
    file: Annotated[
        Path | None, typer.Argument(parser=named_path, metavar="[FILE]", help="An ONNX file. [default: edge, int8]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole metadata, and the file's absolute path.")] = False,
) -> None:
    """Show what a model file says of itself. Nothing of it is run.

    \b
    fmnist-edge info
    fmnist-edge info artifacts/edge/edge.onnx --json
    """
    from fmnist_edge_runtime import modelfile
    from fmnist_edge_runtime.bundled import bundled_model

    path = file or bundled_model()
    opened = modelfile.read(path)
    contract = opened.contract
    if as_json:
        show(json.dumps({**contract.raw, "path": str(path.resolve())}))
        return
    provenance, versions = contract.raw["provenance"], contract.raw["versions"]
    accuracy = provenance.get("test_accuracy")
    rows = {
        "file": f"{path.resolve()} ({len(opened.content):,} bytes)",
        "model": f"{contract.name} ({contract.raw['architecture']}), {contract.format}",
        "labels": ", ".join(contract.labels),
        "pictures": f"uint8 [N, {contract.height}, {contract.width}], {contract.raw['input']['polarity']}",
        "temperature": f"{contract.temperature:g}",
        "known from": f"a best probability of {contract.unknown_threshold:g}",
        "accuracy": f"{accuracy:.2%} of the test images before export" if accuracy is not None else "not measured",
        "licence": provenance.get("licence") or "not given",
        "made with": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "weights": f"sha256 {contract.weights_sha256}",
        "graph": f"sha256 {contract.graph_sha256}",
    }
    for name, value in rows.items():
        show(f"{name:12} {value}")
