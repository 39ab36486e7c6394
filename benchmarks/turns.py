"""Timing several calls in turns on one core, so that whatever slows the machine for a while slows all of them."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]


def pin_to_one_core() -> None:
    """Keep this process, every thread of it and every one that it will start, on one of its cores."""
    if hasattr(os, "sched_setaffinity"):
        core = min(os.sched_getaffinity(0))
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})


def in_turns(
    calls: Mapping[str, Callable[[Images], object]], images: Images, *, rounds: int, in_a_row: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Return microseconds ``[rounds]`` for each call: in each round the median over ``in_a_row`` pictures.

    A call gets uint8 ``[1, height, width]``. The first round warms up and does not count; who is first changes,
    and who comes after whom.
    """
    names = list(calls)
    times = {name: np.empty(rounds + 1) for name in names}
    for number in range(rounds + 1):
        start = number % len(names)
        order = names[start:] + names[:start]
        for name in order if number // len(names) % 2 else order[::-1]:
            call, taken = calls[name], []
            for index in range(number * in_a_row, (number + 1) * in_a_row):
                at = index % len(images)
                picture = images[at : at + 1]
                begin = time.perf_counter()
                call(picture)
                taken.append(time.perf_counter() - begin)
            times[name][number] = np.median(taken) * 1e6
    return {name: values[1:] for name, values in times.items()}
