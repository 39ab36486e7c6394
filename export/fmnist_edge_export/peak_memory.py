"""Peak memory of one model file at work, in a process of its own: ``python -m fmnist_edge_export.peak_memory FILE N``.

Prints the bytes after one picture and 256 were answered; nothing else runs in that process.
"""

import subprocess
import sys
from pathlib import Path

from fmnist_edge_export.data import load_sample
from fmnist_edge_export.served import open_served
from fmnist_edge_runtime.errors import FmnistEdgeError

BULK = 256


def peak_memory(path: Path, threads: int) -> int | None:
    """Return the peak resident bytes of a fresh process that serves ``path``; None where the system does not tell."""
    command = [sys.executable, "-P", "-m", __name__, str(path), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this very module
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise FmnistEdgeError(f"{path}: a process that serves it failed ({reason})")
    value = int(done.stdout)
    return value or None


def _own_peak() -> int:
    """Return this process's peak; 0 if unknown. Linux's getrusage counts the parent's peak too, its status does not."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _main(path: str, threads: str) -> None:
    images = load_sample().images[:BULK]
    served = open_served(Path(path), int(threads))
    served.scores(images[:1])
    served.scores(images)
    sys.stdout.write(f"{_own_peak()}\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
