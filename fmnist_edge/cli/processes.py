"""A function over many items in several processes: results in order, few of them waiting."""

import contextlib
import logging
import multiprocessing
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TypeVar

from fmnist_edge_runtime.errors import FmnistEdgeError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Elsewhere a new process starts from nothing, which takes longer than most folders of pictures.
POSSIBLE = sys.platform == "linux"


def map_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], count: int
) -> Generator[Result, None, None]:
    """Yield ``function(item)`` for each item, in order; the first of ``count`` processes takes every count-th item.

    Processes are forked, so ``function`` may hold anything that survives that. A full pipe stops a process that is too
    far ahead, a closed one ends it, so none outlives the caller. What the library logs was logged by the caller. Where
    the system does not give that many, the caller does it all.

    Raises:
        FmnistEdgeError: raised by ``function``, or a process ended before its work did.
    """
    running: list[tuple[BaseProcess, Connection]] = []
    before = signal.getsignal(signal.SIGINT)
    if before != signal.SIG_IGN:  # whoever leaves at once would leave them behind, perhaps waiting for a pipe for ever
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        try:
            with _interrupts_held():
                _start(running, function, items, count)
        except OSError:  # there are no more processes, or open files, to be had
            _end(running)
        if not running:
            yield from map(function, items)
            return
        for index in range(len(items)):
            process, reader = running[index % count]
            try:
                result: Result | FmnistEdgeError = reader.recv()
            except (EOFError, OSError):  # OSError: in the middle of an answer
                process.join()
                raise FmnistEdgeError(
                    f"a process that read pictures ended too early (exit code {process.exitcode}); is memory short?"
                ) from None
            if isinstance(result, FmnistEdgeError):
                raise result
            yield result
    finally:
        _end(running)
        signal.signal(signal.SIGINT, before)


def _start(
    running: list[tuple[BaseProcess, Connection]],
    function: Callable[[Item], Result],
    items: Sequence[Item],
    count: int,
) -> None:
    """Add ``count`` processes to ``running``, with the pipes that their results come by."""
    context = multiprocessing.get_context("fork")
    for number in range(count):
        reader, writer = context.Pipe(duplex=False)
        inherited = [*(other for _, other in running), reader]
        process = context.Process(target=_work, args=(function, items[number::count], writer, inherited))
        with writer:
            try:
                process.start()
            except OSError:
                reader.close()
                raise
        running.append((process, reader))


def _end(running: list[tuple[BaseProcess, Connection]]) -> None:
    for process, reader in running:
        process.terminate()
        reader.close()
    for process, _ in running:
        process.join()
    running.clear()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C, which the terminal sends to all of them: the caller ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(
    function: Callable[[Item], Result], items: Sequence[Item], results: Connection, inherited: list[Connection]
) -> None:
    for connection in inherited:  # a pipe is closed when its last reader is
        connection.close()
    logging.disable()
    with contextlib.suppress(BrokenPipeError):
        try:
            for item in items:
                results.send(function(item))
        except FmnistEdgeError as error:
            results.send(error)
