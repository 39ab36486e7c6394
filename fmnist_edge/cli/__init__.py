"""The command line: ``fmnist-edge``."""

import atexit
import contextlib
import io
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from fmnist_edge.cli.app import app

__all__ = ["app", "main", "run"]


def main() -> NoReturn:
    """Run the command line on ``sys.argv`` and end the process.

    A command has let go of all it held when it returns; taking the interpreter and its libraries down piece by piece
    would take a seventh of a short run.
    """
    code = run()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed by the reader: nobody is left to tell
            stream.flush()
    if "matplotlib" in sys.modules:  # where it found no folder for its fonts, it has made one to be removed at exit
        atexit._run_exitfuncs()
    os._exit(code)


def run() -> int:
    """Run the command line on ``sys.argv`` and return its exit code."""
    # The threads that numpy's OpenBLAS starts when it is imported take half of a first prediction's CPU time, and
    # nothing here multiplies matrices that are large enough for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller: nothing comes in, and what is said goes nowhere
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - open as long as the process lives
    interrupts: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> NoReturn:
        interrupts.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as a shell has it for what runs in the background
        signal.signal(signal.SIGINT, interrupt)
    try:
        return app(prog_name="fmnist-edge", standalone_mode=False) or 0
    except SystemExit:  # Typer's answer to a closed pipe, under its own help and under usage
        return 0
    except Exception as error:
        return _exit_code(error, interrupted=bool(interrupts))


def _exit_code(error: Any, *, interrupted: bool) -> int:
    """Say in a line what went wrong outside the commands themselves: in their imports, in usage, in printing help."""
    from fmnist_edge.cli import console
    from fmnist_edge_runtime.errors import first_line

    if interrupted:  # a library whose import is interrupted may raise what it likes
        console.complain("interrupted")
        return console.INTERRUPTED
    if isinstance(error, ImportError):  # of what is installed, and cannot be loaded
        console.complain(f"a package that is needed cannot be loaded ({first_line(error)}); install it again")
        return console.WRONG_CALL
    if isinstance(error, OSError):
        console.discard_output()
        if isinstance(error, BrokenPipeError):
            return 0
        console.complain(f"input or output: {error.strerror or error}")
        return console.FAILED
    if not hasattr(error, "show"):
        raise error
    text = io.StringIO()
    error.show(file=text)  # a wrong call, in Typer's words, which repeat what was typed
    for line in text.getvalue().splitlines():
        console.say(line, quiet=False)
    return int(error.exit_code)
