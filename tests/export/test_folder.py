"""A model's folder is swapped as a whole, whoever dies in between, and nobody else's is touched."""

import contextlib
import errno
import multiprocessing
import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from fmnist_edge_export import folder
from fmnist_edge_export.pipeline import export
from fmnist_edge_export.verify import verify
from fmnist_edge_runtime.errors import ModelError


def test_a_death_between_the_two_renames_is_put_right(target):
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    target.rename(target.with_name(".edge.fmnist-edge-old"))
    assert verify(target).ok
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert not target.with_name(".edge.fmnist-edge-old").exists()


def test_so_it_is_where_one_of_its_files_is_asked_about(target):
    target.rename(target.with_name(".edge.fmnist-edge-old"))
    assert verify(target / "edge.int8.onnx").ok


@pytest.mark.skipif(sys.platform != "linux", reason="a folder in which nobody can make one")
def test_where_none_can_be_made_the_folder_that_was_asked_for_is_named():
    with pytest.raises(OSError, match=r"'/proc/it'$"), folder.staging(Path("/proc/it")):
        pytest.fail("made")


@pytest.mark.parametrize("path", ["edge", "edge/missing.onnx", "thing"])
def test_folders_of_somebody_else_beside_it_stay(target, path):
    others = [target.with_name(name) for name in (".edge.old", ".edge.new-things", ".thing.old")]
    for other in others:
        other.mkdir()
        (other / "thesis.txt").write_text("years of work")
    with contextlib.suppress(ModelError):
        verify(target.parent / path)
    assert [(other / "thesis.txt").read_text() for other in others] == ["years of work"] * 3


def test_a_folder_is_verified_where_the_one_that_holds_it_may_only_be_entered(target, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != target.parent)  # root may list everything
    for name in ("folder.locked", "folder.recover"):
        monkeypatch.setattr(f"fmnist_edge_export.{name}", lambda *_, **__: pytest.fail("it was to be listed"))
    assert verify(target).ok


def test_a_folder_that_holds_folders_is_no_models(target):
    (target / "thesis").mkdir()
    with pytest.raises(ModelError, match="edge: holds folders, so it is not a model's folder"):
        folder.refuse_unless_replaceable(target)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_folder_that_holds_a_pipe_is_no_models(target):
    os.mkfifo(target / "queue")
    with pytest.raises(ModelError, match="edge: holds queue, which is no file"):
        folder.refuse_unless_replaceable(target)


@pytest.fixture
def waits(target, monkeypatch):
    """For each time that ``target`` is listed: must an export that would replace it wait?"""
    listed = []

    def iterdir(path, real=Path.iterdir):
        if path == target:
            try:
                with folder.locked(target.parent, wait=False):
                    listed.append(False)
            except BlockingIOError:
                listed.append(True)
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    return listed


@pytest.mark.skipif(sys.platform == "win32", reason="no locks on folders there")
@pytest.mark.parametrize("look", [folder.refuse_unless_replaceable, verify])
def test_no_export_replaces_a_folder_while_it_is_looked_at(target, waits, look):
    look(target)
    assert waits == [True]


def test_a_folder_that_is_renamed_as_it_is_looked_at_is_not_called_a_file(target, monkeypatch):
    real = Path.stat

    def stat_and_rename(path, **how):
        found = real(path, **how)
        if path == target and not how:  # as an export does where there are no locks
            monkeypatch.setattr(Path, "stat", real)
            target.rename(target.with_name("elsewhere"))
        return found

    monkeypatch.setattr(Path, "stat", stat_and_rename)
    folder.refuse_unless_replaceable(target)
    assert not target.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no locks on folders there")
def test_an_export_looks_at_what_it_may_replace_while_no_other_replaces_it(target, waits, sources, probes, monkeypatch):
    def enough(*_):
        raise TimeoutError("it has looked by now")

    monkeypatch.setattr("fmnist_edge_export.pipeline.ask_reference", enough)
    with pytest.raises(TimeoutError):
        export(sources["edge"], target, [], probes)
    assert waits == [True, True]


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use stays there")
def test_who_is_in_the_folder_is_in_the_new_one_then(target, monkeypatch):
    monkeypatch.chdir(target)
    with folder.staging(target) as new:
        (new / "new.txt").write_text("new")
        folder.swap(new, target)
    assert Path("new.txt").read_text() == "new"


def test_folders_made_for_a_set_that_does_not_come_go_again(tmp_path):
    with contextlib.suppress(ValueError), folder.staging(tmp_path / "some" / "where" / "edge"):
        raise ValueError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", ["before", "after"], ids=lambda when: f"{when} it is locked")
def test_a_folder_that_another_export_takes_away_again_is_made_again(tmp_path, monkeypatch, when):
    target, lock, taken = tmp_path / "new" / "edge", folder.locked, []

    @contextlib.contextmanager
    def locked(place):
        first = not taken
        if first and when == "before":
            taken.append(place.rmdir())
        with lock(place):
            if first and when == "after":
                taken.append(place.rmdir())
            yield

    monkeypatch.setattr(folder, "locked", locked)
    with folder.staging(target) as new:
        (new / "set").write_text("new")
        folder.swap(new, target)
    assert taken
    assert (target / "set").read_text() == "new"


def test_where_no_folder_can_be_made_it_is_not_tried_for_ever(tmp_path, monkeypatch):
    def mkdir(path, *_, **__):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(FileNotFoundError), folder.staging(tmp_path / "edge"):
        pytest.fail("there is no folder")


@pytest.mark.parametrize("look", [folder.refuse_unless_replaceable, folder.recover])
def test_a_folder_around_it_that_goes_while_it_is_looked_at_is_as_good_as_none(tmp_path, monkeypatch, look):
    (tmp_path / "new").mkdir()
    lock = folder.locked

    def locked(place, **how):
        place.rmdir()
        return lock(place, **how)

    monkeypatch.setattr(folder, "locked", locked)
    look(tmp_path / "new" / "edge")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_of_such_a_name_is_not_waited_for(target):
    os.mkfifo(target.with_name(".edge.fmnist-edge-new-x"))
    folder.recover(target)


def test_a_link_of_such_a_name_is_no_old_set(target, tmp_path):
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    strangers.chmod(0o755)
    target.with_name(".edge.fmnist-edge-old").symlink_to(strangers)
    folder.recover(target)
    assert stat.S_IMODE(strangers.stat().st_mode) == 0o755


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o2775])
def test_the_new_set_has_the_permissions_of_the_old_one(tmp_path, mode):
    target = tmp_path / "edge"
    target.mkdir()
    target.chmod(mode)
    with folder.staging(target) as new:
        folder.swap(new, target)
    assert stat.S_IMODE(target.stat().st_mode) == mode


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
def test_a_first_set_has_the_permissions_of_any_new_folder(tmp_path):
    (tmp_path / "any").mkdir()
    with folder.staging(tmp_path / "edge") as new:
        folder.swap(new, tmp_path / "edge")
    assert (tmp_path / "edge").stat().st_mode == (tmp_path / "any").stat().st_mode


@pytest.mark.skipif(sys.platform == "win32", reason="no locks on folders there")
def test_without_locks_a_set_is_replaced_and_what_others_make_is_left_alone(target, monkeypatch):
    import fcntl

    def without(*_):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", without)
    anothers = target.with_name(f"{folder._new(target)}another")
    anothers.mkdir()
    with folder.staging(target) as new:
        (new / "set").write_text("new")
        folder.recover(target)
        folder.swap(new, target)
    assert (target / "set").read_text() == "new"
    assert anothers.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there are several roots there")
def test_the_root_of_the_file_system_is_no_models_folder():
    assert [check.name for check in verify("/").failures] == ["manifest"]


def swap_and_die(target, rename):
    """In a process of its own: swap in a new set and be killed at the given rename."""
    real = Path.rename
    seen = []

    def dying(self, to):
        seen.append(to)
        if len(seen) == rename:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, to)

    with folder.staging(target) as new:
        (new / "set").write_text("new")
        Path.rename = dying
        folder.swap(new, target)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("rename", [1, 2, 3])
def test_killed_at_any_rename_the_target_is_the_old_set_or_the_new(tmp_path, rename):
    target = tmp_path / "edge"
    target.mkdir()
    (target / "set").write_text("old")
    child = multiprocessing.get_context("spawn").Process(target=swap_and_die, args=(target, rename))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    folder.recover(target)
    assert (target / "set").read_text() == ("old" if rename < 3 else "new")
    assert [path.name for path in tmp_path.iterdir()] == ["edge"], "what the killed one left is gone"


def test_recovering_leaves_an_export_in_progress_alone(tmp_path):
    target = tmp_path / "edge"
    with folder.staging(target) as new:
        (new / "set").write_text("in the making")
        folder.recover(target)
        assert (new / "set").exists()
        folder.swap(new, target)
    assert (target / "set").read_text() == "in the making"
