"""``fmnist-edge verify``."""

from pathlib import Path
from typing import Annotated

import typer

from fmnist_edge.cli.console import FAILED, WRONG_CALL, Quiet, complain, named_path, one_line_errors, show_verdict


@one_line_errors
def verify(
    paths: Annotated[
        list[Path], typer.Argument(parser=named_path, metavar="PATH...", help="Model files, or folders made by export.")
    ],
    quiet: Quiet = False,
) -> None:
    """Check that model files are whole and answer here as they did where they were made.

    A file: its digest and its self-test. A folder: every file against the manifest, and each model file as well.
    TorchScript files are replayed where the [export] extra is installed.

    \b
    fmnist-edge verify artifacts/edge
    fmnist-edge verify edge.int8.onnx other.onnx

    Exit code 0: all checks hold; 1: some do not; 2: a path that is not there, or a missing extra.
    """
    from fmnist_edge_export.verify import verify as verify_path
    from fmnist_edge_runtime.errors import MissingExtraError, ModelError

    exit_code = 0
    for path in paths:
        try:
            report = verify_path(path)
        except (ModelError, MissingExtraError) as error:
            complain(str(error))
            exit_code = WRONG_CALL
            continue
        if not quiet or not report.ok:
            show_verdict([f"{path}:", *report.lines()])
        if not report.ok:
            exit_code = exit_code or FAILED
    if exit_code:
        raise typer.Exit(exit_code)
