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
        from fmnist_edge_runtime import avif, photo, shrink, sight, tiff  # noqa: F401

        Image.init()
        unseen = "concurrent.futures.thread" not in sys.modules
        import concurrent.futures.thread as pools

        # Where another thread is in the midst of that very import, its hooks may print an error that is ignored.
        if unseen:  # its own hooks: the one that takes this lock comes too late, the one that gives it back does not
            pools._global_shutdown_lock.acquire()


def _prepare_child() -> None:
    """Make a child safe: no lock held by a thread that it has not, no session destroyed, which waits for threads."""
    global changing
    changing = threading.RLock()
    for session in sessions:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if sys.platform != "win32":
    os.register_at_fork(before=_finish_imports, after_in_child=_prepare_child)
