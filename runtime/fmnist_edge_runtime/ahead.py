"""A function over a stream on several threads: results in order, few items in flight."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Generator[Result, None, None]:
    """Yield ``function(item)`` for each item, in order, at most ``workers + 1`` items ahead of what was asked for.

    Items are taken in the caller's thread. With one worker all is done there, and nothing ahead; so is an item that no
    thread can be started for. When the caller stops early, what has begun is finished first. Where ``items`` fails, the
    results of all before come first.

    Raises:
        RuntimeError: a child after fork goes on with its parent's: the threads that work for it are not there.
    """
    if workers == 1:
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor  # a single picture needs no threads, and pays for no import

    waiting: deque[Future[Result]] = deque()
    failures: list[Exception] = []
    process = os.getpid()

    def refuse_after_fork() -> None:
        if os.getpid() != process:
            raise RuntimeError("begun by the parent of this process, before the fork; begin anew here")

    with ThreadPoolExecutor(workers, thread_name_prefix="fmnist-edge") as pool:
        for item in _until_failure(items, failures):
            refuse_after_fork()  # before the pool is asked: at the fork a thread may have held its lock
            waiting.append(_begun(pool, function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            refuse_after_fork()
            yield waiting.popleft().result()
    if failures:
        raise failures[0]


def _begun(pool: "Executor", function: Callable[[Item], Result], item: Item) -> "Future[Result]":
    """Have a thread work on an item; the caller does where the process may have no more threads, as in a container."""
    from concurrent.futures import Future

    answer: Future[Result] = Future()
    todo = [(item, answer)]  # whoever takes it first; a pool keeps what it was given and has no thread for

    def work() -> None:
        try:
            mine, its = todo.pop()
        except IndexError:
            return
        try:
            its.set_result(function(mine))
        except BaseException as error:  # raised where the answer is asked for
            its.set_exception(error)
        finally:
            del mine, its  # else an error's traceback would keep them

    with contextlib.suppress(RuntimeError):
        pool.submit(work)
        return answer
    work()
    if answer.done() and not isinstance(answer.exception(), Exception | None):
        answer.result()  # Ctrl-C is the caller's, and waits for no turn
    return answer


def _until_failure(items: Iterable[Item], failures: list[Exception]) -> Iterator[Item]:
    try:
        yield from items
    except Exception as error:  # the iterator's own
        failures.append(error)
