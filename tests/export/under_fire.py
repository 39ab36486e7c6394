"""A folder made and swapped as an export does it, with a cheap payload, and something happening at one step.

python under_fire.py TARGET NAME             just so; prints how many steps it took
python under_fire.py TARGET NAME kill STEP   killed before that step
python under_fire.py TARGET NAME full STEP   that step fails, as on a full disk
python under_fire.py TARGET NAME unprivileged

A step is whatever changes or opens something in the file system, as Python's audit hooks and ``os.fsync`` tell it.
"""

import errno
import fcntl  # noqa: F401 - the code under test imports it late, when the library may not be readable any more
import hashlib
import os
import shutil
import signal
import sys
from pathlib import Path

from fmnist_edge_export import folder
from fmnist_edge_export.files import write_atomically

FILES = ("weights", "graph", "record")
MANIFEST = "manifest"
NOBODY = 65534
WATCHED = ("open", "os.", "shutil.", "tempfile.", "fcntl.")


def content_of(name, file):
    return f"{file} of {name}\n".encode() * 1_000


def make(place, name):
    for file in FILES:
        write_atomically(place / file, content_of(name, file))
    lines = [f"{hashlib.sha256((place / file).read_bytes()).hexdigest()} {file}" for file in FILES]
    write_atomically(place / MANIFEST, "\n".join([name, *lines]).encode())


def name_of(place):
    """The name of the set in ``place``, which is whole."""
    name, *lines = (place / MANIFEST).read_text().splitlines()
    assert lines == [f"{hashlib.sha256(content_of(name, file)).hexdigest()} {file}" for file in FILES]
    for file in FILES:
        assert (place / file).read_bytes() == content_of(name, file), f"{file} is not whole"
    return name


def export(target, name):
    folder.refuse_unless_replaceable(target)
    folder.recover(target)
    with folder.staging(target) as new:
        make(new, name)

        def complete():
            if (target / "notes.txt").is_file():
                shutil.copy2(target / "notes.txt", new / "notes.txt")

        folder.swap(new, target, complete)


def watch(how, fatal):
    """Count steps; return the list of those seen."""
    seen = []

    def step(event, *_):
        if event.startswith(WATCHED) and event != "os.kill":
            seen.append(event)
            if len(seen) == fatal and how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if len(seen) == fatal:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real = os.fsync

    def fsync(descriptor):
        step("os.fsync")
        real(descriptor)

    os.fsync = fsync
    sys.addaudithook(step)
    return seen


def main(target, name, how="", fatal="0"):
    if how == "unprivileged" and os.getuid() == 0:  # whom no permission stops
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    seen = watch(how, int(fatal))
    try:
        export(Path(target), name)
    except OSError as error:
        sys.exit(f"{error.strerror}")
    sys.stdout.write(f"{len(seen)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
