"""One copy of the default model in git, found from a wheel and from an editable install alike."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def pip():
    def pip(*arguments, python=sys.executable):
        command = [python, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr

    return pip


@pytest.fixture(scope="module")
def wheel(pip, root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", root, "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    return next(folder.glob("*.whl"))


@pytest.fixture
def environment(tmp_path):
    """A virtual environment that borrows the dependencies from this one, but not the project."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=os.name != "nt")
    bin_folder = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    borrowed = tmp_path / "borrowed"
    borrowed.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(("fmnist_edge", "_editable_impl_fmnist_edge")):
            (borrowed / entry.name).symlink_to(entry)
    site = next((tmp_path / "venv").rglob("site-packages"))
    (site / "borrowed.pth").write_text(str(borrowed))
    return bin_folder / Path(sys.executable).name


def said_by(python, cwd):
    """What an installed command says of its default model, run from a folder that is not the checkout."""
    code = "from fmnist_edge.cli import main; main()"
    done = subprocess.run(
        [python, "-c", code, "info", "--json"], capture_output=True, text=True, check=False, cwd=cwd, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_wheel_holds_the_model_the_sample_and_its_notice(wheel, root):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        model = archive.read("fmnist_edge_runtime/bundled/edge.int8.onnx")
    assert model == (root / "artifacts/edge/edge.int8.onnx").read_bytes()
    assert "fmnist_edge_export/sample/NOTICE" in names
    assert "fmnist_edge_export/sample/sample-images-idx3-ubyte.gz" in names
    assert {f"{name}/py.typed" for name in ("fmnist_edge", "fmnist_edge_export", "fmnist_edge_runtime")} <= names
    assert {name.split("/")[0] for name in names} == {
        "fmnist_edge",
        "fmnist_edge_export",
        "fmnist_edge_runtime",
        f"fmnist_edge-{wheel.name.split('-')[1]}.dist-info",
    }


def test_there_is_one_copy_of_the_model_in_git(root):
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=root).stdout
    assert [line for line in listed.splitlines() if line.endswith("edge.int8.onnx")] == [
        "artifacts/edge/edge.int8.onnx"
    ]


def test_an_installed_wheel_finds_its_model(pip, wheel, environment, tmp_path):
    pip("--python", environment, "install", "--no-deps", wheel)
    path = Path(said_by(environment, tmp_path)["path"])
    assert path.parts[-3:] == ("fmnist_edge_runtime", "bundled", "edge.int8.onnx")
    assert tmp_path in path.parents


def test_an_editable_install_finds_the_model_of_the_checkout(pip, root, environment, tmp_path):
    pip("--python", environment, "install", "--no-deps", "--no-build-isolation", "--editable", root)
    assert said_by(environment, tmp_path)["path"] == str(root / "artifacts/edge/edge.int8.onnx")
