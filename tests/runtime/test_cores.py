"""Threads follow the affinity mask and the cgroup, not the size of the machine."""

import os
import subprocess
import sys

import pytest

from fmnist_edge_runtime import cores
from fmnist_edge_runtime.cores import allowed_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.fixture
def machine(tmp_path):
    """Make a root folder with the given files."""

    def machine(**files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, "utf-8")
        return tmp_path

    return lambda files: machine(**files)


def test_without_a_limit_the_mask_counts(machine, tmp_path):
    assert allowed_cores(tmp_path) == 8
    assert allowed_cores(machine({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"})) == 8


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("50000 100000", 1), ("100000 100000", 1), ("150000 100000", 2), ("800000 100000", 8), ("6400000 100000", 8)],
)
def test_a_quota_is_rounded_up_and_never_raises_the_mask(machine, quota, expected):
    assert allowed_cores(machine({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": f"{quota}\n"})) == expected


@pytest.mark.parametrize("name", ["a\x0cb", "a\x1cb", "a\u2028b", "a:b"])
def test_a_cgroup_may_have_any_name_of_one_line(machine, name):
    files = {"proc/self/cgroup": f"0::/{name}\n", f"sys/fs/cgroup/{name}/cpu.max": "300000 100000\n"}
    assert allowed_cores(machine(files)) == 3


@pytest.mark.parametrize("limited", ["", "a/", "a/b/"])
def test_a_limit_of_any_parent_holds(machine, limited):
    files = {f"sys/fs/cgroup/{folder}cpu.max": "max 100000\n" for folder in ("", "a/", "a/b/")}
    files |= {f"sys/fs/cgroup/{limited}cpu.max": "300000 100000\n", "proc/self/cgroup": "0::/a/b\n"}
    assert allowed_cores(machine(files)) == 3


def test_a_limit_of_another_cgroup_does_not(machine):
    files = {"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/b/cpu.max": "100000 100000\n"}
    assert allowed_cores(machine(files)) == 8


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("250000", 3)])
def test_the_first_version_of_cgroups_is_read_too(machine, controllers, quota, expected):
    files = {
        "proc/self/cgroup": f"5:cpuset:/x\n4:{controllers}:/a\n0::/\n",
        "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": f"{quota}\n",
        "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
    }
    assert allowed_cores(machine(files)) == expected


def test_a_cgroup_may_have_any_name(machine):
    files = {"proc/self/cgroup": "0::/jöb\n", "sys/fs/cgroup/jöb/cpu.max": "200000 100000\n"}
    assert allowed_cores(machine(files)) == 2


@pytest.mark.parametrize("path", ["/docker/0123", "/../elsewhere", "/a:b"])
def test_a_container_that_is_told_its_hosts_path_has_its_limit_at_the_mount(machine, path):
    files = {"proc/self/cgroup": f"0::{path}\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}
    assert allowed_cores(machine(files)) == 2


@pytest.mark.parametrize("content", ["", "max", "100000", "0 0", "a b", "100000 100000 100000", "\xff"])
def test_what_cannot_be_understood_is_no_limit(machine, content):
    assert allowed_cores(machine({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": content})) == 8


def test_where_there_are_no_masks_the_machine_counts(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 5)
    assert allowed_cores(tmp_path) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has affinity masks here")
def test_a_process_bound_to_one_core_counts_one():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from fmnist_edge_runtime.cores import allowed_cores; print(allowed_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
