"""What the operating system sees of a prediction: no socket, no file written, no other program started."""

import os
import re
import shutil
import subprocess
import sys

import pytest

PREDICTS = ["-m", "fmnist_edge", "predict"]
EMBEDS = ["-c", "import sys; from fmnist_edge import Classifier; print(Classifier().predict(sys.argv[1]).label)"]
MEDDLES = [
    "-c",
    "import os, socket, subprocess, sys; open(sys.argv[1]).close(); socket.socket().close()\n"
    "os.makedirs(os.path.expanduser('~/.cache')); open(os.path.expanduser('~/.cache/it'), 'w').close()\n"
    "subprocess.run(['true'])",
]
SOCKETS = re.compile(r"socket|connect|bind|send|recv")
# Of the calls that name a file, those that change something.
CHANGES = re.compile(
    r"^(creat|mkdir|rmdir|mknod|unlink|rename|link|symlink|truncate|chmod|fchmod|chown|lchown|fchown|utime|futimes)"
    r"|O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)"
)
TELEMETRY = "ORT_DISABLE_TELEMETRY"


@pytest.fixture
def traced(root, tmp_path):
    """Run Python on a picture under strace; returns its calls of three kinds, and what it left at home."""
    if not shutil.which("strace"):
        pytest.skip("needs strace, which is for Linux alone: apt install strace")

    def traced(arguments):
        log, home = tmp_path / "calls", tmp_path / "home"
        home.mkdir()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", TELEMETRY))}
        command = ["strace", "-f", "-qq", "-e", "trace=%network,%file", "-e", "signal=none", "-o", log]
        command += [sys.executable, "-B", *arguments, root / "examples/pictures/bag.png"]  # -B: nor compiled modules
        subprocess.run(command, check=True, timeout=120, env=environment | {"HOME": str(home)})
        calls = [line.split(None, 1)[1] for line in log.read_text(errors="replace").splitlines()]
        assert any("bag.png" in call for call in calls[1:]), "the picture was read"
        return {
            "sockets": [call for call in calls if SOCKETS.match(call)],
            "changes": [call for call in calls if CHANGES.search(call) and '"/dev/null"' not in call],
            "programs": [call for call in calls if call.startswith("execve")][1:],
            "at home": [path.name for path in home.rglob("*")],
        }

    return traced


@pytest.mark.parametrize("arguments", [PREDICTS, EMBEDS], ids=["the command", "a program that embeds"])
def test_a_prediction_opens_no_socket_writes_no_file_and_starts_no_program(traced, arguments):
    assert traced(arguments) == {"sockets": [], "changes": [], "programs": [], "at home": []}


def test_a_program_that_does_all_of_that_is_seen(traced):
    seen = traced(MEDDLES)
    assert all(seen.values())
    assert any(call.startswith("mkdir") for call in seen["changes"])
    assert any(".cache/it" in call for call in seen["changes"])
