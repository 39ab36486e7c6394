"""A model's folder, replaced as a whole: whoever looks sees the old set or the new one.

The new set is made in ``.NAME.new-*`` beside the target. Then the target is renamed to ``.NAME.old``, the new set to
the target's name, and the old set removed. A process killed between the two renames leaves ``.NAME.old`` and no
target; :func:`recover` renames it back.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fmnist_edge_runtime.errors import FmnistEdgeError


@contextlib.contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Yield a new folder beside ``target``, removed in the end unless :func:`swap` took it away."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    try:
        # Held while the folder is in use, so that another export can tell it from one left by a killed process.
        with locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def swap(staged: Path, target: Path) -> None:
    """Put ``staged`` in the place of ``target``."""
    with locked(target.parent):
        _recover(target)
        old = _old(target)
        staged.chmod(0o755)
        if target.exists():
            target.rename(old)
        staged.rename(target)
        _flush(target.parent)
        shutil.rmtree(old, ignore_errors=True)


def recover(target: Path) -> None:
    """Put right what a killed export of ``target`` left behind."""
    if target.parent.is_dir():
        with locked(target.parent):
            _recover(target)
            for stale in target.parent.glob(f".{target.name}.new-*"):
                with contextlib.suppress(BlockingIOError), locked(stale, wait=False):
                    shutil.rmtree(stale, ignore_errors=True)


def refuse_unless_replaceable(target: Path) -> None:
    """Raise if ``target`` is something that must not be replaced: a file, or a folder that holds other folders."""
    if target.exists() and not target.is_dir():
        raise FmnistEdgeError(f"{target}: is a file; name another --out")
    if target.is_dir() and any(entry.is_dir() for entry in target.iterdir()):
        raise FmnistEdgeError(f"{target}: holds folders, so it is not a model's folder; name another --out")


def _recover(target: Path) -> None:
    old = _old(target)
    if old.is_dir():
        if target.exists():
            shutil.rmtree(old)
        else:
            old.rename(target)


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _flush(folder: Path) -> None:
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the folder's advisory lock. Windows has none for folders: there, one export at a time is the user's care."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
