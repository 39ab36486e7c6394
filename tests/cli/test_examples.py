"""Every example runs as its first lines say, and fits on a page."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest
from PIL import Image


def test_an_example_is_no_longer_than_a_page(root):
    lengths = [len(example.read_text().splitlines()) for example in (root / "examples").glob("*.py")]
    assert 0 < max(lengths) <= 60


def test_every_example_is_tested_here(root):
    tested = Path(__file__).read_text()
    for example in (root / "examples").glob("*.py"):
        assert f"{example.stem}.py" in tested or f"{example.stem}:app" in tested, example


def test_the_contact_sheet_draws_a_tile_a_picture(root, tmp_path):
    command = [sys.executable, root / "examples/contact_sheet.py", root / "examples/pictures", tmp_path / "sheet.png"]
    subprocess.run(command, check=True)
    with Image.open(tmp_path / "sheet.png") as sheet, Image.open(root / "docs/predictions.png") as committed:
        assert sheet.size == committed.size == (5 * 168, 2 * 212)
        assert len(sheet.getcolors(100_000)) > 50


def test_the_asyncio_worker_answers_every_job(root, run, tmp_path):
    pictures = sorted((root / "examples/pictures").glob("*.png"))
    done = run(*pictures, *pictures, tmp_path / "missing.png", script=root / "examples/asyncio_worker.py")
    assert (done.returncode, done.stderr) == (0, b"")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(answer["path"] for answer in answers if "label" in answer) == sorted(map(str, pictures * 2))
    assert all(as_named(answer) for answer in answers if "label" in answer)
    (error,) = [answer["error"] for answer in answers if "error" in answer]
    assert "cannot be read" in error


def as_named(answer):
    """Whether a picture of examples/pictures was called by the name of its file."""
    return answer["label"].lower().replace("/", "-").replace(" ", "-") == Path(answer["path"]).stem


@contextlib.contextmanager
def served(root):
    """Run the service on a socket that listens before it starts, so that nobody has to wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-m", "uvicorn", "--app-dir", root / "examples", "--log-level", "warning"]
        command += ["--fd", str(listening.fileno()), "fastapi_service:app"]
        with subprocess.Popen(command, pass_fds=[listening.fileno()], stdout=-1, stderr=-1) as process:
            try:
                address = f"http://127.0.0.1:{listening.getsockname()[1]}"
                with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
                    yield client
            finally:
                process.send_signal(signal.SIGINT)
                said = process.communicate(timeout=60)
            assert said == (b"", b"")


@pytest.mark.skipif(os.name == "nt", reason="Windows does not hand sockets to a child")
def test_the_service_answers_pictures_refuses_others_and_stops_cleanly(root):
    with served(root) as client:
        assert client.get("/health").json() == {"model": "edge", "ok": True}
        with (root / "examples/pictures/bag.png").open("rb") as picture:
            answer = client.post("/predict", files={"picture": picture})
        assert answer.status_code == 200
        assert answer.json()["label"] == answer.json()["top"][0]["label"] == "Bag"
        refused = client.post("/predict", files={"picture": b"words"})
        assert refused.status_code == 422
        assert "not an image" in refused.json()["detail"]


@pytest.mark.skipif(os.name == "nt", reason="Windows does not hand sockets to a child")
def test_the_service_answers_many_at_once_as_it_answers_one(root):
    content = (root / "examples/pictures/coat.png").read_bytes()
    with served(root) as client:
        alone = client.post("/predict", files={"picture": content}).json()

        async def at_once():
            async with httpx.AsyncClient(base_url=client.base_url, timeout=60, trust_env=False) as many:
                return await asyncio.gather(*(many.post("/predict", files={"picture": content}) for _ in range(40)))

        assert all(answer.json() == alone for answer in asyncio.run(at_once()))


@pytest.fixture
def ray_environment(tmp_path):
    """Ray at a home of its own, without a word to anybody; its sockets need a short path."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    yield os.environ | {
        "HOME": str(tmp_path),
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DATA_DEFAULT_WAIT_FOR_MIN_ACTORS_S": "60",
    }
    shutil.rmtree(folder, ignore_errors=True)


def scored(root, pictures, answers, environment):
    """The answers of a run of the example, once each."""
    command = [sys.executable, root / "examples/ray_bulk.py", pictures, answers]
    done = subprocess.run(command, env=environment, cwd=answers.parent, capture_output=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for file in answers.iterdir() for line in file.read_text().splitlines()]


@pytest.mark.skipif(sys.platform != "linux", reason="clusters of Ray are for Linux")
def test_bulk_scoring_runs_on_one_machine(root, tmp_path, ray_environment):
    shutil.copytree(root / "examples/pictures", tmp_path / "pictures")
    (tmp_path / "pictures/notes.png").write_text("no picture")
    answers = scored(root, tmp_path / "pictures", tmp_path / "answers", ray_environment)
    assert len(answers) == 11
    assert all(as_named(answer) for answer in answers if not answer["error"])
    (bad,) = [answer for answer in answers if answer["error"]]
    assert "not an image" in bad["error"]
    assert Path(bad["path"]).name == "notes.png"


@pytest.mark.skipif(sys.platform != "linux", reason="clusters of Ray are for Linux")
def test_the_same_file_scores_on_a_cluster_of_two_workers(root, sample, tmp_path, ray_environment):
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(sample.images[:400]):
        Image.fromarray(image).save(tmp_path / f"pictures/{number}.png")
    command = [sys.executable, Path(__file__).with_name("ray_cluster.py")]
    with subprocess.Popen(
        command, env=ray_environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as cluster:
        address, *workers = cluster.stdout.readline().decode().split() or [""]
        assert len(workers) == 2, "the cluster did not start"
        answers = scored(root, tmp_path / "pictures", tmp_path / "answers", ray_environment | {"RAY_ADDRESS": address})
        cluster.stdin.close()
        assert cluster.wait(60) == 0

    from fmnist_edge import Classifier

    with Classifier() as classifier:
        labels = [prediction.label for prediction in classifier.predict_many(sample.images[:400])]
    answers.sort(key=lambda answer: int(Path(answer["path"]).stem))
    assert [answer["label"] for answer in answers] == labels
    # Which of the two takes which part is Ray's choice; on busy cores one may have taken all.
    assert {answer["node"] for answer in answers} <= set(workers)
