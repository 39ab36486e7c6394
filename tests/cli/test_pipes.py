"""Whoever reads the results may go, streams may be closed, full or interrupted: no traceback, the right exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and signals are other things there")

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what a process waits for")
COMMAND = [sys.executable, "-m", "fmnist_edge"]
COUNT = 80  # pictures; what is said of them fits into a pipe
CALLS = [
    ["predict", "PICTURES"],
    ["predict", "PICTURES", "--jsonl"],
    ["verify", "MODEL"],
    ["info"],
    ["--help"],
    ["predict", "--help"],
    ["--version"],
]


@pytest.fixture(scope="module")
def pictures(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(COUNT):
        Image.fromarray(sample.images[index]).save(folder / f"{index:03}.png")
    return folder


@pytest.fixture
def full(pictures, root):
    """The whole command of a call."""
    places = {"PICTURES": str(pictures), "MODEL": str(root / "artifacts/edge/edge.int8.onnx")}
    return lambda call: [*COMMAND, *(places.get(part, part) for part in call)]


def in_a_shell(command, redirection):
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", *command], capture_output=True, timeout=60, check=False
    )


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_reader_that_has_gone_ends_it_quietly(full, call):
    with subprocess.Popen(full(call), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_verdict_that_nobody_reads_keeps_its_exit_code(full, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    call = full(["verify", str(tmp_path), str(tmp_path)])
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("call", CALLS[:2], ids=" ".join)
def test_a_reader_that_goes_after_a_line_ends_it_quietly(full, call):
    with subprocess.Popen(full(call), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_closed_streams_change_neither_the_exit_code_nor_what_comes_from_the_others(full, call, streams):
    done, usual = in_a_shell(full(call), streams), in_a_shell(full(call), "")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (b"" if ">&-" in streams.replace("2>&-", "") else usual.stdout)


@pytest.mark.parametrize(
    ("call", "code"), [(["predict", "nothing.png"], 1), (["nothing"], 2), (["predict"], 2), (["info", "nothing"], 2)]
)
@pytest.mark.parametrize("streams", ["2>&-", ">&- 2>&-", "2>/dev/full", "2>&1 | true"])
def test_errors_that_nobody_hears_keep_their_exit_code(full, call, code, streams):
    if not os.path.exists("/dev/full") and "full" in streams:
        pytest.skip("no /dev/full here")
    if "|" not in streams:
        assert in_a_shell(full(call), streams).returncode == code
        return
    ours, theirs = os.pipe()
    os.close(ours)
    assert subprocess.run(full(call), stdout=theirs, stderr=theirs, timeout=60, check=False).returncode == code
    os.close(theirs)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a device that is always full")
@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_full_disk_is_one_line(full, call):
    done = in_a_shell(full(call), ">/dev/full")
    assert done.returncode == 1
    assert done.stderr == b"fmnist-edge: input or output: No space left on device\n"


def test_nothing_on_standard_input_is_no_picture(full):
    done = in_a_shell(full(["predict", "-"]), "<&-")
    assert done.returncode == 1
    assert done.stderr == b"fmnist-edge: -: not an image, the file is empty or at its end\n"


def interrupted(command, waits_for=None, **options):
    """Start, wait for a line of results and for a pipe to be opened, press Ctrl-C; returns exit code and outputs."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0}  # no line is kept from communicate
    with subprocess.Popen(command, **(streams | options)) as process:
        try:
            first = process.stdout.readline()
            pipe = waits_for and opened_by_its_reader(waits_for, process)
            if pipe:
                sleeping(process)
            process.send_signal(signal.SIGINT)
            rest, complaint = process.communicate(timeout=30)
        finally:
            process.kill()
        if pipe:
            os.close(pipe)
    return process.returncode, (first + rest).decode(), (complaint or b"").decode()


def opened_by_its_reader(path, process):
    while process.poll() is None:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads it yet
            time.sleep(0.01)
    raise AssertionError("it ended without reading the pipe")


def sleeping(process):
    """Wait until it waits: Python loses a signal in the microseconds between its last look and a call that blocks."""
    while process.poll() is None and Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        time.sleep(0.01)


@only_linux
@pytest.mark.parametrize("more", [[], ["--jsonl"], ["--jsonl", "--save-view", "VIEWS"]], ids=" ".join)
def test_ctrl_c_in_the_middle_of_a_folder_ends_with_whole_lines_and_130(full, pictures, tmp_path, more):
    """A pipe to which nobody writes, after the pictures, makes sure that it is the middle."""
    os.mkfifo(tmp_path / "pipe")
    call = ["predict", str(pictures), str(tmp_path / "pipe"), str(pictures), *more]
    command = [part.replace("VIEWS", str(tmp_path / "views")) for part in full(call)]
    code, results, complaint = interrupted(command, waits_for=tmp_path / "pipe")
    assert (code, complaint) == (130, "fmnist-edge: interrupted\n")
    assert results.endswith("\n")
    assert 1 <= len(results.splitlines()) <= COUNT
    if "--jsonl" in more:
        assert all(json.loads(line)["status"] == "ok" for line in results.splitlines())


@only_linux
def test_ctrl_c_shows_the_cursor_again_that_a_bar_has_hidden(full, pictures, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    terminal, theirs = os.openpty()
    try:
        call = ["predict", str(pictures / "000.png"), str(tmp_path / "pipe"), "--save-view", str(tmp_path / "views")]
        code, results, _ = interrupted(full(call), waits_for=tmp_path / "pipe", stderr=theirs)
        shown = os.read(terminal, 65536)
    finally:
        os.close(terminal)
        os.close(theirs)
    assert (code, len(results.splitlines())) == (130, 1)
    assert shown.count(b"\x1b[?25l") > 0
    assert shown.endswith(b"\x1b[?25h\r\nfmnist-edge: interrupted\r\n")


def test_ctrl_c_in_the_middle_of_many_pictures_does_not_finish_them(full, pictures):
    code, results, complaint = interrupted(full(["predict", *[str(pictures)] * 40, "--jsonl"]))
    assert (code, complaint) == (130, "fmnist-edge: interrupted\n")
    assert 1 <= len(results.splitlines()) < 40 * COUNT


IMPORTING = """
import os, signal, sys
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Press())
sys.argv = ["fmnist-edge", "predict", {picture!r}]
from fmnist_edge.__main__ import main
main()
"""


@pytest.mark.parametrize("name", ["typer", "numpy", "numpy._core", "PIL.Image", "onnxruntime"])
def test_ctrl_c_while_libraries_are_imported_is_no_traceback(pictures, name):
    code = IMPORTING.format(name=name, picture=str(pictures / "000.png"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert done.returncode == 130
    assert done.stdout == b""
    assert done.stderr in (b"", b"fmnist-edge: interrupted\n")


def test_what_runs_in_the_background_is_not_interrupted(full, pictures):
    command = full(["predict", str(pictures), "--jsonl"])
    code, results, complaint = interrupted(["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command])
    assert (code, complaint, len(results.splitlines())) == (0, "", COUNT)


def test_libraries_write_nothing_beside_the_line_for_a_damaged_picture(run, tmp_path):
    """libtiff complains on the file descriptor, past Python."""
    path = tmp_path / "damaged.tif"
    Image.new("RGB", (60, 60), "red").save(path, compression="tiff_lzw")
    content = bytearray(path.read_bytes())
    content[20:60] = b"\xff" * 40
    path.write_bytes(content)
    for more in ([], ["--save-view", tmp_path / "views"]):
        done = run("predict", path, *more)
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith(f"fmnist-edge: {path}: a damaged or truncated image (")
