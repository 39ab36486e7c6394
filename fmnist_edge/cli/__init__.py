"""The command line: ``fmnist-edge``."""

import contextlib
import os
import sys
from pathlib import Path
from typing import NoReturn

from fmnist_edge.cli.app import app

__all__ = ["app", "main", "run"]


def main() -> NoReturn:
    """Run the command line on ``sys.argv`` and end the process.

    A command has let go of all it held when it returns; taking the interpreter and its libraries down piece by piece
    would take an eighth of a short run.
    """
    code = run()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed by the reader: nobody is left to tell
            stream.flush()
    os._exit(code)


def run() -> int:
    """Run the command line on ``sys.argv`` and return its exit code."""
    # The threads that numpy's OpenBLAS starts when it is imported take a fifth of a first prediction, and nothing here
    # multiplies matrices that are large enough for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: results and complaints go nowhere
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open as long as the process lives
    try:
        app(prog_name="fmnist-edge")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
