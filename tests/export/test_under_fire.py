"""Whatever happens while a folder is replaced, it is the old set or the new one, whole."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("no locks on folders and no signals there", allow_module_level=True)

import resource

from under_fire import NOBODY, make, name_of

from fmnist_edge_export import folder

SCRIPT = Path(__file__).with_name("under_fire.py")


def start(target, *arguments):
    command = [sys.executable, str(SCRIPT), str(target), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, complaint = process.communicate(timeout=60)
    return process.returncode, out, complaint


def fresh(place):
    """A folder that holds the old set, with a stranger's file, and nothing else."""
    target = place / "edge"
    target.mkdir(parents=True)
    make(target, "old")
    (target / "notes.txt").write_text("mine")
    return target


@pytest.fixture
def steps(tmp_path):
    target = fresh(tmp_path / "counted")
    code, out, _ = finish(start(target, "new"))
    assert (code, name_of(target)) == (0, "new")
    assert int(out) > 50
    return range(1, int(out) + 1)


def beside(target):
    return sorted(path.name for path in target.parent.iterdir() if path != target)


def test_killed_at_every_step_the_target_is_the_old_set_or_the_new_one(steps, tmp_path):
    states = []
    for step in steps:
        target = fresh(tmp_path / f"step {step}")
        assert finish(start(target, "new", "kill", step))[0] == -signal.SIGKILL
        states.append(name_of(target) if target.exists() else "between")
        if step % 2:
            folder.recover(target)  # as verify does
            assert name_of(target) == {"between": "old"}.get(states[-1], states[-1]), step
        else:
            assert finish(start(target, "next"))[0] == 0
            assert name_of(target) == "next"
        assert (target / "notes.txt").read_text() == "mine", step
        assert beside(target) == [], f"step {step}: what the killed one left is gone"
    assert list(dict.fromkeys(states)) == ["old", "between", "new"], "in this order, and each was met"


def test_on_a_disk_that_is_full_at_any_step_the_target_is_the_old_set_or_the_new_one(steps, tmp_path):
    outcomes = set()
    for step in steps:
        target = fresh(tmp_path / f"step {step}")
        code, _, complaint = finish(start(target, "new", "full", step))
        outcomes.add((code, complaint.strip(), name_of(target)))
        assert (target / "notes.txt").read_text() == "mine", step
        folder.recover(target)
        assert beside(target) == [], step
    assert (1, "No space left on device", "old") in outcomes
    assert {name for code, _, name in outcomes if code == 0} == {"new"}
    assert {complaint for code, complaint, _ in outcomes if code != 0} == {"No space left on device"}


def test_a_real_export_that_runs_out_of_room_changes_nothing(artifacts):
    """A limit on the size of a file stands for the disk: the write itself fails, in the kernel, after a part of it."""
    before = {path.name: path.read_bytes() for path in (artifacts / "edge").iterdir()}
    command = [sys.executable, "-m", "fmnist_edge", "export", "--format", "onnx", "--out", str(artifacts), "--quiet"]
    room = 100_000
    done = subprocess.run(
        command,
        capture_output=True,
        timeout=300,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.endswith("File too large")
    assert {path.name: path.read_bytes() for path in (artifacts / "edge").iterdir()} == before
    assert beside(artifacts / "edge") == []


@pytest.fixture
def of_nobody():
    """A target that belongs to an unprivileged user, in a place that such a one can reach."""
    with tempfile.TemporaryDirectory() as place:
        target = fresh(Path(place, "models"))
        for path in (Path(place), target.parent, target, *target.iterdir()):
            path.chmod(0o755)
            if os.getuid() == 0:
                os.chown(path, NOBODY, NOBODY)
        yield target


def test_in_a_folder_that_may_not_be_written_to_nothing_changes(of_nobody):
    of_nobody.parent.chmod(0o555)
    code, _, complaint = finish(start(of_nobody, "new", "unprivileged"))
    of_nobody.parent.chmod(0o755)
    assert (code, complaint.strip()) == (1, "Permission denied")
    assert name_of(of_nobody) == "old"
    assert beside(of_nobody) == []


def test_a_set_that_may_not_be_written_to_is_replaced_and_leaves_nothing(of_nobody):
    of_nobody.chmod(0o555)
    code, _, complaint = finish(start(of_nobody, "new", "unprivileged"))
    assert (code, complaint) == (0, "")
    assert name_of(of_nobody) == "new"
    assert beside(of_nobody) == []


def test_of_exports_at_once_each_leaves_a_whole_set_and_the_last_one_stays(tmp_path):
    target = fresh(tmp_path / "models")
    names, seen = [f"set {number}" for number in range(12)], set()
    running = [start(target, name) for name in names]
    while any(process.poll() is None for process in running):
        folder.recover(target)
        with folder.locked(target.parent, shared=True):
            seen.add(name_of(target))
    assert [finish(process)[::2] for process in running] == [(0, "")] * len(names)
    assert seen <= {"old", *names}
    assert name_of(target) in names
    assert (target / "notes.txt").read_text() == "mine"
    assert beside(target) == []
