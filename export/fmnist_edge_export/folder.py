"""A model's folder, replaced as a whole: whoever looks sees the old set, the new one or, for a moment, none.

The new set is made in ``.NAME.fmnist-edge-new-*`` beside the target. Then the target is renamed to
``.NAME.fmnist-edge-old``, the new set to the target's name, and the old set removed. A process killed between the two
renames leaves the old set and no target; :func:`recover` renames it back. Nobody else calls a folder so by chance.
"""

import contextlib
import errno
import glob
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from fmnist_edge_runtime.errors import ModelError

_TURNS = 10
_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP)  # what a network's file system may say of folders


@contextlib.contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Yield a new folder beside ``target``, removed in the end unless :func:`swap` took it away."""
    with contextlib.ExitStack() as held:
        held.callback(remove_empty, [parent for parent in target.parents if not parent.exists()])
        folder = target.with_name(f"{_new(target)}{secrets.token_hex(8)}")
        for turn in range(_TURNS):  # another export that came to nothing takes folders away that it made
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                # Its lock tells it from a killed process's. Until it has that, the parent's keeps others away.
                with locked(target.parent):
                    folder.mkdir()
                    held.callback(shutil.rmtree, folder, ignore_errors=True)
                    held.enter_context(locked(folder))
                    break
            except OSError as error:
                if turn == _TURNS - 1 or not isinstance(error, FileNotFoundError | FileExistsError):
                    raise OSError(error.errno, error.strerror, str(target)) from error  # and not a name nobody gave
        yield folder


def swap(staged: Path, target: Path, complete: Callable[[], None] = lambda: None) -> None:
    """Put ``staged`` in the place of ``target``; if it cannot be put there, ``target`` is as it was.

    ``complete`` adds to ``staged`` what is to stay of ``target``, when no other export can replace it any more. If
    ``target`` is the folder that this process is in, it is in the new one then.
    """
    inside = is_entered(target)
    with locked(target.parent):
        _recover(target)
        complete()
        for path in (*staged.iterdir(), staged):
            _flush(path)
        old = _old(target)
        if target.exists():
            staged.chmod(stat.S_IMODE(target.stat().st_mode))
            target.rename(old)
        try:
            staged.rename(target)
        except BaseException:
            _recover(target)
            raise
        if inside:
            with contextlib.suppress(OSError):
                os.chdir(target)
        _flush(target.parent)
        _remove(old)


def is_entered(target: Path) -> bool:
    """Tell whether ``target`` is the folder that this process is in."""
    try:
        return target.samefile(Path.cwd())
    except OSError:  # one of them is missing
        return False


def recover(target: Path) -> None:
    """Put right what a killed export of ``target`` left behind."""
    if target.parent.is_dir():
        with contextlib.suppress(FileNotFoundError), locked(target.parent):  # it may be gone by now
            _recover(target)
            # Where there are no locks, nothing tells an export that runs from one that was killed.
            for stale in [] if sys.platform == "win32" else target.parent.glob(f"{glob.escape(_new(target))}*"):
                with contextlib.suppress(OSError), locked(stale, wait=False):  # in use, or gone by now
                    shutil.rmtree(stale, ignore_errors=True)


def put_right(path: Path) -> None:
    """Recover ``path``, or the folder that it was in."""
    for folder in [path] if path.is_dir() else [] if path.exists() else [path.parent, path]:
        if folder.name and is_listable(folder.parent):  # the root of the file system has no name
            recover(folder)


def refuse_unless_replaceable(target: Path) -> None:
    """Raise if ``target`` must not be replaced.

    It is a file or below one, a link to itself, or a folder that holds what can be no part of a model: folders, pipes,
    sockets.
    """
    if target.is_symlink():  # links were followed as far as they lead
        raise ModelError(f"{target}: is a link that leads to itself; name another folder")
    with undisturbed(target):
        for path in (target, *target.parents):
            if _is_no_folder(path):
                raise ModelError(f"{path}: is a file; name another folder")
        for entry in target.iterdir() if target.is_dir() else ():
            if entry.is_dir():
                raise ModelError(f"{target}: holds folders, so it is not a model's folder; name another folder")
            if not entry.is_symlink() and not entry.is_file():
                raise ModelError(f"{target}: holds {entry.name}, which is no file; name another folder")


@contextlib.contextmanager
def undisturbed(target: Path) -> Iterator[None]:
    """Keep exports from replacing ``target`` while it is looked at, where the folder that holds it can be locked."""
    with contextlib.ExitStack() as held:
        if is_listable(target.parent):
            with contextlib.suppress(FileNotFoundError):  # it is gone by now
                held.enter_context(locked(target.parent, shared=True))
        yield


def is_listable(folder: Path) -> bool:
    """Tell whether a folder may be listed, and so locked: one that may only be entered is often somebody's home."""
    return folder.is_dir() and os.access(folder, os.R_OK)


def _is_no_folder(path: Path) -> bool:
    try:  # asked once: what is there and what it is may be two answers
        return not stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def remove_empty(folders: list[Path]) -> None:
    """Remove folders, the inner ones first, as far as they are empty."""
    with contextlib.suppress(OSError):  # not empty: what was to be made in there is there
        for folder in folders:
            folder.rmdir()


def _recover(target: Path) -> None:
    old = _old(target)
    if old.is_dir() and not old.is_symlink():
        if target.exists():
            _remove(old)
        else:
            old.rename(target)


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.fmnist-edge-old")


def _new(target: Path) -> str:
    return f".{target.name}.fmnist-edge-new-"


def _remove(folder: Path) -> None:
    """Remove a folder, one that may not be written to as well; what cannot be removed is left for the next time."""
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _flush(path: Path) -> None:
    if sys.platform != "win32" and not path.is_symlink():  # a link may lead to nothing
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = True, shared: bool = False) -> Iterator[None]:
    """Hold the folder's advisory lock, alone or with other readers; OSError if it is not to be had without waiting.

    Windows and some networks have none for folders: there, one export at a time is the user's care.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)  # a pipe of such a name would keep us waiting
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if not wait or error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        os.close(descriptor)
