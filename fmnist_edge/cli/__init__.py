"""The command line: ``fmnist-edge``."""

import os
import sys
from pathlib import Path

from fmnist_edge.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line on ``sys.argv`` and exit."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: results and complaints go nowhere
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open as long as the process lives
    app(prog_name="fmnist-edge")
