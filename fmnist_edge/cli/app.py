"""The commands put together. Nothing heavy is imported here: each command imports what it needs when it runs."""

from typing import Annotated

import typer

from fmnist_edge import __version__
from fmnist_edge.cli.benchmark import benchmark
from fmnist_edge.cli.evaluate import evaluate
from fmnist_edge.cli.export import export
from fmnist_edge.cli.info import info
from fmnist_edge.cli.predict import predict
from fmnist_edge.cli.train import train
from fmnist_edge.cli.verify import verify

app = typer.Typer(
    name="fmnist-edge",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: no colour codes in pipes, and nothing more to import
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for command in (predict, export, verify, info, evaluate, benchmark, train):
    app.command()(command)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"fmnist-edge {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Classify clothes with a small network, and export, prove and train such networks.

    \b
    fmnist-edge predict boot.png          what is in a picture
    fmnist-edge export                    ONNX, ONNX int8 and TorchScript, proven equal to the model
    fmnist-edge verify artifacts/edge     are these files whole, and do they answer as they should here
    """
