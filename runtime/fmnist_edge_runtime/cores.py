"""How many cores this process may use: its affinity mask and its cgroup decide, not the size of the machine.

A container with half a core's time on a machine of 64 would be slowed down, not sped up, by 64 threads.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

MOST_THREADS = 1024  # of one inference; 5,000 take seconds to start, 100,000 were not there after a minute


def allowed_cores(root: Path = Path("/")) -> int:
    """Return how many threads can run at once, at least 1; part of a core counts as one.

    ``root`` is where ``proc`` and ``sys`` are looked for. Where a system has neither masks nor cgroups, the cores of
    the machine count.
    """
    return max(1, min([_affinity(), *(math.ceil(quota) for quota in _quotas(root))]))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Yield the cores' worth of time that this process's cgroup and each of its parents are granted, where limited."""
    for line in filter(None, _read(root / "proc/self/cgroup").split("\n")):  # what else splits lines may be in a name
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            for folder in _and_parents(root / "sys/fs/cgroup", path):
                yield from _quota(_read(folder / "cpu.max"))
        elif "cpu" in controllers.split(","):  # version 1
            for folder in _and_parents(root / "sys/fs/cgroup/cpu", path):
                yield from _quota(f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}")


def _and_parents(mount: Path, path: str) -> Iterator[Path]:
    # Inside a container the path may be the host's and not be there; what applies is then at the mount itself.
    parts = path.strip("/").split("/")
    for depth in range(len(parts) + 1):
        yield mount.joinpath(*parts[:depth])


def _quota(entry: str) -> Iterator[float]:
    """Yield microseconds of CPU time over microseconds of clock time; nothing for ``max``, -1 or no entry."""
    match entry.split():
        case [quota, period] if quota.isdecimal() and period.isdecimal() and int(period):
            yield int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes())  # a cgroup may have any name
    except OSError:
        return ""
