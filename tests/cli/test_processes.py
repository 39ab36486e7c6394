"""Work shared among processes: in order, and nobody left behind."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from fmnist_edge.cli import processes
from fmnist_edge_runtime.errors import FmnistEdgeError, ModelError

pytestmark = [
    pytest.mark.skipif(not processes.POSSIBLE, reason="forked on Linux alone"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_order_from_as_many_processes_as_asked_for(count):
    results = list(processes.map_in_processes(lambda item: (item, os.getpid()), range(20), count))
    assert [item for item, _ in results] == list(range(20))
    assert len({process for _, process in results} - {os.getpid()}) == count


def test_no_process_is_left_when_the_caller_stops():
    results = processes.map_in_processes(str, range(100_000), 2)
    assert next(results) == "0"
    assert len(multiprocessing.active_children()) == 2
    results.close()
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_is_an_error_and_takes_the_others_with_it():
    results = processes.map_in_processes(lambda item: os._exit(3) if item == 5 else item, range(20), 2)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(FmnistEdgeError, match=r"ended too early \(exit code 3\)"):
        next(results)
    assert multiprocessing.active_children() == []


def test_an_error_that_is_raised_on_purpose_is_the_callers(capfd):
    def work(item):
        if item == 5:
            raise ModelError("it.onnx: cannot run it")
        return item

    results = processes.map_in_processes(work, range(20), 2)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ModelError, match=r"it\.onnx: cannot run it"):
        next(results)
    assert capfd.readouterr().err == ""
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_in_the_middle_of_an_answer_is_an_error_too():
    results = processes.map_in_processes(lambda item: bytes(10_000_000), range(3), 1)  # more than a pipe holds
    next(results)
    process, reader = results.gi_frame.f_locals["running"][0]
    assert reader.poll(60)
    process.kill()
    with pytest.raises(FmnistEdgeError, match=r"ended too early \(exit code -9\)"):
        next(results)


@pytest.mark.parametrize("given", [0, 1, 2])
def test_the_caller_works_where_the_system_gives_too_few_processes(monkeypatch, given):
    begun = []

    def fork():
        if len(begun) == given:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        begun.append(None)
        return real_fork()

    real_fork = os.fork
    monkeypatch.setattr(os, "fork", fork)
    results = list(processes.map_in_processes(lambda item: (item, os.getpid()), range(20), 3))
    assert results == [(item, os.getpid()) for item in range(20)]
    assert len(begun) == given
    assert multiprocessing.active_children() == []


def test_ctrl_c_is_the_callers_to_hear():
    def work(item):
        os.kill(os.getpid(), signal.SIGINT)
        return item

    assert list(processes.map_in_processes(work, range(4), 2)) == [0, 1, 2, 3]
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_processes_end_when_their_caller_is_killed():
    code = """
from fmnist_edge.cli.processes import map_in_processes
results = map_in_processes(str, range(10**9), 3)
print(next(results), flush=True)
next(iter(int, 1))
"""
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE) as caller:
        assert caller.stdout.readline() == b"0\n"
        caller.kill()
        assert caller.stdout.read() == b""  # the processes share it: its end is theirs
