"""Silence for the libraries that print, and warn of what the proofs or an error say."""

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator

# Streams and filters are the whole process's: two threads that put back in turns what they found would lose them.
_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let nothing that Python code prints or warns of reach the application."""
    out, err = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with _one_at_a_time, out, err, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
