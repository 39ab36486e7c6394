"""The commands put together. Nothing heavy is imported here: each command imports what it needs when it runs."""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fmnist_edge import __version__

COMMANDS = ("predict", "export", "verify", "info", "evaluate", "benchmark", "train")
_PLAIN: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,  # plain help: no colour codes in pipes, and nothing more to import
    "pretty_exceptions_enable": False,
}


class Commands(TyperGroup):
    """The commands by name; a command's module is imported when the command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as Typer calls it
        """Return all names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - as Typer calls it
        """Return the command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        alone = typer.Typer(**_PLAIN)
        alone.command(cmd_name)(getattr(import_module(f"fmnist_edge.cli.{cmd_name}"), cmd_name))
        return typer.main.get_command(alone)


app = typer.Typer(
    name="fmnist-edge",
    cls=Commands,
    no_args_is_help=True,
    **_PLAIN,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


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
