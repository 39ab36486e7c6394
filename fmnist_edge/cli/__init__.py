"""The command line: ``fmnist-edge``."""

from fmnist_edge.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line on ``sys.argv`` and exit."""
    app(prog_name="fmnist-edge")
