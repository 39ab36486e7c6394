"""What all commands share at the terminal: errors on one line, exit codes, progress, printable names."""

import contextlib
import functools
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar

import typer

from fmnist_edge_runtime.cores import MOST_THREADS
from fmnist_edge_runtime.errors import FmnistEdgeError, MissingExtraError, ModelError, printable

FAILED, WRONG_CALL, INTERRUPTED = 1, 2, 130


def named_path(given: str | Path) -> Path:
    """Return the path that an option or argument names; an empty one would be the folder that one stands in."""
    if given == "":
        raise typer.BadParameter("the name is empty, as that of a shell variable that is not set")
    return Path(given)


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no warnings; results and errors only.")]
Threads = Annotated[int, typer.Option(min=1, max=MOST_THREADS, metavar="N", help="Threads inside one inference.")]
Data = Annotated[Path | None, typer.Option(parser=named_path, metavar="DIR", help="Where Fashion-MNIST is.")]

_bars: list[Any] = []  # that are on the terminal now

Command = TypeVar("Command", bound=Callable[..., None])


def one_line_errors(command: Command) -> Command:
    """Let a command end in one line on standard error, and the right exit code, instead of a traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        quiet = kwargs.get("quiet", False)
        logging.basicConfig(handlers=[_OneLine()], level="ERROR" if quiet else "WARNING", force=True)
        logging.getLogger("fmnist_edge_export").setLevel("ERROR" if quiet else "INFO")
        logging.getLogger("matplotlib").setLevel("ERROR")  # that it found no folder for its fonts is nobody's matter
        warnings.simplefilter("ignore")  # of libraries: for programmers, not for who types a command
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except FmnistEdgeError as error:
            complain(str(error))
            raise typer.Exit(WRONG_CALL if isinstance(error, ModelError | MissingExtraError) else FAILED) from None
        except KeyboardInterrupt:
            complain("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            discard_output()  # whoever read the results has closed the pipe, and wants no more
            raise typer.Exit(0) from None
        except OSError as error:
            discard_output()
            complain(f"{error.filename or 'input or output'}: {error.strerror or error}")
            raise typer.Exit(FAILED) from None

    return wrapped  # type: ignore[return-value]  # the same parameters, by functools.wraps


class _OneLine(logging.Handler):
    """Log records as lines on standard error, escaped as all else: they name files."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage(), quiet=False)


def discard_output() -> None:
    """Send what is still buffered nowhere; else Python would try to write it again at its end, and complain."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(message: str) -> None:
    """Print one line on standard error; a closed one is no reason to fail."""
    say(f"fmnist-edge: {message}", quiet=False)


def show(*lines: str) -> None:
    """Print lines of results in one write, whatever is in them and whatever the terminal's encoding is."""
    typer.echo("\n".join(_shown(line, sys.stdout) for line in lines))


def _shown(line: str, stream: TextIO) -> str:
    """Return a line as the stream's encoding can say it; Typer would send UTF-8 to one of ASCII."""
    encoding = stream.encoding or "ascii"
    return printable(line).encode(encoding, "backslashreplace").decode(encoding)


def show_verdict(lines: Iterable[str]) -> None:
    """Print lines of which the exit code is the sum: a reader who has gone spares them, but changes nothing else."""
    try:
        show(*lines)
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()


@contextlib.contextmanager
def progress(length: int, label: str, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Yield a function that moves a bar on standard error; where that is no terminal, it does nothing."""
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda steps: None
        return
    with typer.progressbar(length=length, label=label, file=sys.stderr, width=_bar_width(label)) as bar:
        _bars.append(bar)
        try:
            yield bar.update
        finally:
            _bars.remove(bar)


def _bar_width(label: str) -> int:
    """Return how wide a bar is that fits the terminal together with its label, percentage and time."""
    columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return max(1, min(36, columns - len(label) - 24))


def say(message: str, *, quiet: bool) -> None:
    """Print a line about what goes on, on standard error."""
    if not quiet:
        over_the_bar = "\r\x1b[K" if _bars else ""  # which is drawn again, below, when it has moved
        with contextlib.suppress(OSError, ValueError):
            typer.echo(over_the_bar + _shown(message, sys.stderr), err=True)


@contextlib.contextmanager
def leaving_on_interrupt() -> Iterator[None]:
    """Let Ctrl-C end the process at once: nothing is half done, and a thread may be waiting for a pipe for ever."""

    def leave(*_: Any) -> None:
        with contextlib.suppress(OSError, ValueError):
            # A bar has hidden the cursor, and the terminal has echoed ^C. Written past Python's stream, which may be in
            # the middle of a write.
            line_end = b"\x1b[?25h\n" if sys.stderr.isatty() else b""
            os.write(sys.stderr.fileno(), line_end + b"fmnist-edge: interrupted\n")
        os._exit(INTERRUPTED)

    before = signal.getsignal(signal.SIGINT)
    if before != signal.SIG_IGN:
        signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def without_library_noise() -> Iterator[None]:
    """Keep descriptor 2 for this program: libtiff writes there, past Python, of whatever damage it meets."""
    try:
        ours = sys.stderr.fileno() == 2
    except (OSError, ValueError):  # it is not a file
        ours = False
    if not ours:
        yield
        return
    before, kept, nowhere = sys.stderr, os.dup(2), os.open(os.devnull, os.O_WRONLY)
    sys.stderr = os.fdopen(kept, "w", buffering=1, encoding=before.encoding, errors=before.errors)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        with contextlib.suppress(OSError):  # whoever read it has gone
            sys.stderr.close()
        sys.stderr = before
