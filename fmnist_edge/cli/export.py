"""``fmnist-edge export``."""

from pathlib import Path
from typing import Annotated

import typer

from fmnist_edge.cli.console import FAILED, Data, Quiet, complain, named_path, one_line_errors, say, show_verdict

ALL_FORMATS = "onnx,onnx-int8,torchscript"


@one_line_errors
def export(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A model of the output folder. [default: edge]")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            parser=named_path, metavar="FILE", help="Weights elsewhere: NAME.safetensors, with NAME.json beside it."
        ),
    ] = None,
    formats: Annotated[str, typer.Option("--format", metavar="A,B", help="The forms to make.")] = ALL_FORMATS,
    out: Annotated[
        Path, typer.Option(parser=named_path, metavar="DIR", help="Where the model's folder is made.")
    ] = Path("artifacts"),
    data: Data = None,
    keep_failed: Annotated[bool, typer.Option("--keep-failed", help="Keep rejected files, in NAME.failed.")] = False,
    quiet: Quiet = False,
) -> None:
    """Export a model, prove every file, and only then replace the model's folder.

    The proofs run on the 10,000 test images where they are, else on a sample of 1,000. If one fails, the folder stays
    as it is, byte for byte. Needs the [export] extra.

    \b
    fmnist-edge export                             artifacts/edge, all forms
    fmnist-edge export cnn --format onnx
    fmnist-edge export --checkpoint runs/edge/edge.safetensors --out /tmp/try

    Exit code 0: proven and replaced; 1: a proof failed, or data are missing or damaged; 2: wrong options, no such
    model, or a missing extra.
    """
    from fmnist_edge_export.extras import needs_export_extra
    from fmnist_edge_export.proof.report import Report
    from fmnist_edge_runtime.errors import ParityError

    if model is not None and checkpoint:
        raise typer.BadParameter("name a MODEL or a --checkpoint, not both")
    if model is not None and (not model or Path(model).name != model or model.endswith(".safetensors")):
        raise typer.BadParameter(f"{model!r}: a MODEL's name is needed, not a path; weights elsewhere: --checkpoint")
    name = "edge" if model is None else model
    with needs_export_extra("fmnist-edge export"):
        from fmnist_edge_export.api import export_checkpoint
    from fmnist_edge_export.folder import is_entered

    inside = is_entered(out / (checkpoint.stem if checkpoint else name))
    try:
        report = export_checkpoint(
            checkpoint or out / name / f"{name}.safetensors",
            out,
            [part.strip() for part in formats.split(",") if part.strip()],
            data_folder=data,
            keep_failed=keep_failed,
            on_step=lambda step: say(f"{step} ...", quiet=quiet),
        )
    except ParityError as error:
        if isinstance(error.report, Report):
            show_verdict(error.report.lines())
        complain(str(error))
        raise typer.Exit(FAILED) from None
    show_verdict(report.lines())
    if inside:
        say("the folder you are in was replaced: cd . takes you into the new one", quiet=quiet)
