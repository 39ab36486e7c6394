"""What a process that forks needs: its child has the parent's locks and sessions, but none of the parent's threads."""

import ctypes
import os
import sys
import threading
import weakref

from PIL import Image

from fmnist_edge_runtime.session import Session

sessions: "weakref.WeakSet[Session]" = weakref.WeakSet()  # of the classifiers of this process
# Held while a classifier gets another session, or loses its own: also by a signal handler amid the former.
changing = threading.RLock()


def _finish_imports() -> None:
    """Load what is loaded late: a child waits for ever for what a thread of its parent was importing at the fork."""
    if sessions and threading.active_count() > 1:
        taken = _pools_know_of_this_fork()
        from PIL import ImageCms  # noqa: F401 - for pictures in LAB

        from fmnist_edge_runtime import avif, photo, shrink, sight, tiff  # noqa: F401

        Image.init()
        import concurrent.futures.thread as pools

        if not taken:  # it would be given back all the same, or taken from a thread that holds it
            pools._global_shutdown_lock.acquire()


def _pools_know_of_this_fork() -> bool:
    """Tell whether Python's thread pools took their lock for this fork: not those that are first imported amid it.

    Python asks for the hooks before a fork when it begins, and for those after it when it is done.
    """
    pools = sys.modules.get("concurrent.futures.thread")
    if pools is None:
        return False
    if not getattr(pools.__spec__, "_initializing", False):
        return True
    lock = getattr(pools, "_global_shutdown_lock", None)  # of a module that a thread is importing
    return lock is not None and lock.locked()


def _prepare_child() -> None:
    """Make a child safe: no lock held by a thread that it has not, no session destroyed, which waits for threads."""
    global changing
    changing = threading.RLock()
    for session in sessions:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if sys.platform != "win32":
    os.register_at_fork(before=_finish_imports, after_in_child=_prepare_child)
