"""What each way in imports, and which way imports run."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fmnist_edge
from fmnist_edge_export.extras import interrupt_behind, needs_export_extra

REPORT = "import sys; print(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"


def imported(code):
    """The top-level packages in memory after ``code`` has run in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())


def command(*arguments):
    return f"""
import sys
sys.argv = ["fmnist-edge", *{arguments!r}]
from fmnist_edge.cli import run
code = run()
assert not code, code
{REPORT}"""


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("predict", "--help"), ("export", "--help")])
def test_help_imports_neither_numpy_nor_onnxruntime_nor_pillow(arguments):
    assert imported(command(*arguments)).isdisjoint({"numpy", "onnxruntime", "PIL", "torch", "onnx"})


def test_importing_the_package_imports_nothing_heavy():
    heavy = {"numpy", "onnxruntime", "PIL", "torch", "onnx", "typer"}
    assert imported(f"import fmnist_edge; {REPORT}").isdisjoint(heavy)


def test_predict_imports_neither_torch_nor_onnx(root):
    names = imported(command("predict", str(root / "examples/pictures/bag.png")))
    assert "onnxruntime" in names
    assert names.isdisjoint({"torch", "onnx", "torchvision", "onnxscript", "matplotlib"})


def test_predict_loads_no_other_command_no_rare_decoder_and_no_openssl(root):
    """Each would cost a first prediction time or memory that nobody sees."""
    code = command("predict", str(root / "examples/pictures/bag.png"))
    code = code.replace(REPORT, "import sys; print(' '.join(sorted(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    names = set(done.stdout.splitlines()[-1].split())
    assert {"fmnist_edge.cli.predict", "PIL.PngImagePlugin"} <= names
    assert names.isdisjoint({"fmnist_edge.cli.export", "PIL.PdfImagePlugin", "_hashlib"})


def test_every_package_that_the_base_install_asks_for_is_used_by_its_commands(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    used = imported(command("--help")) | imported(command("predict", str(root / "examples/pictures/bag.png")))
    assert {"PIL" if name == "pillow" else name for name in wanted} <= used


@pytest.mark.parametrize("name", ["verify", "benchmark"])
def test_verifying_and_timing_an_onnx_file_import_no_torch(root, name):
    names = imported(command(name, str(root / "artifacts/edge/edge.onnx")))
    assert names.isdisjoint({"torch", "onnx"})


WATCH = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print("telemetry off:", os.environ.get("ORT_DISABLE_TELEMETRY"), file=sys.stderr)
sys.meta_path.insert(0, Watch())
"""


@pytest.mark.parametrize("way_in", ["the package", "benchmark", "the workshop"])
def test_telemetry_is_off_whatever_imports_onnxruntime_first(root, monkeypatch, way_in):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    code = {
        "the package": "import fmnist_edge, onnxruntime",
        "benchmark": command("benchmark", str(root / "artifacts/edge/edge.int8.onnx")),
        "the workshop": "import fmnist_edge_export.formats.quantise",
    }[way_in]
    done = subprocess.run([sys.executable, "-c", WATCH + code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.splitlines() == ["telemetry off: 1"]


def test_evaluating_imports_no_torch():
    assert imported(f"import fmnist_edge_export.evaluate, fmnist_edge_export.data; {REPORT}").isdisjoint(
        {"torch", "onnx"}
    )


LAYERS = {
    "runtime/fmnist_edge_runtime": {"fmnist_edge", "fmnist_edge_export", "torch", "onnx", "safetensors", "typer"},
    "export/fmnist_edge_export": {"fmnist_edge", "typer"},
    "fmnist_edge": {"torch", "onnx", "onnxscript", "safetensors", "torchvision"},
}


@pytest.mark.parametrize("room", LAYERS)
def test_imports_run_one_way(root, room):
    files = sorted((root / room).rglob("*.py"))
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names}.isdisjoint(LAYERS[room]), path


def test_the_public_names_are_these():
    assert fmnist_edge.__all__ == [
        "Candidate",
        "Check",
        "Classifier",
        "Contract",
        "DataError",
        "FmnistEdgeError",
        "ImageError",
        "MissingExtraError",
        "ModelError",
        "ParityError",
        "PictureSource",
        "Prediction",
        "ReadAs",
        "Replay",
        "Report",
        "export_model",
        "verify",
        "__version__",
    ]
    assert all(getattr(fmnist_edge, name) is not None for name in fmnist_edge.__all__)
    with pytest.raises(AttributeError):
        fmnist_edge.nothing  # noqa: B018


def test_a_star_asks_for_nothing_that_is_not_there():
    code = "import sys; sys.modules['torch'] = None\nfrom fmnist_edge import *\nprint(Classifier, verify)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("lacking", ["", "torch", "onnx"])
def test_help_works_with_and_without_the_extra(lacking):
    missing = f"sys.modules['{lacking}'] = None; " if lacking else ""
    said = "pydoc.render_doc(fmnist_edge, renderer=pydoc.plaintext)"
    code = f"import pydoc, sys, fmnist_edge; {missing}print('export_model' in {said})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == str(not lacking)


def test_the_packages_that_are_looked_for_are_those_of_the_extra(root):
    extra = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]["export"]
    assert sorted(re.match(r"[\w-]+", line)[0].replace("-", "_") for line in extra) == sorted(fmnist_edge._EXTRA)


MISSING = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx", "safetensors", "torchvision"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
"""


@pytest.mark.parametrize("arguments", [("export",), ("train", "edge")])
def test_a_missing_extra_is_one_line_with_the_command_to_type(arguments):
    code = MISSING + command(*arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "AssertionError: 2" in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("fmnist-edge: ")]
    assert "pip install 'fmnist-edge[export]'" in line


UNLOADABLE = MISSING.replace("ModuleNotFoundError(", "ImportError(").replace("No module named", "libfoo.so.6 of")


@pytest.mark.parametrize(("package", "arguments"), [("torch", ("export",)), ("onnxruntime", ("predict", "boot.png"))])
def test_a_package_that_cannot_be_loaded_is_not_called_missing(package, arguments):
    code = UNLOADABLE.replace('"torch"', f'"{package}"') + command(*arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "AssertionError: 2" in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("fmnist-edge: ")]
    assert line.startswith("fmnist-edge: a package that is needed cannot be loaded (libfoo.so.6 of ")


def test_what_torch_imports_late_is_missed_at_once():
    code = MISSING.replace('"torch", "onnx", "safetensors", "torchvision"', '"onnxscript",') + command("export")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "pip install 'fmnist-edge[export]'" in done.stderr


def test_without_the_extra_a_folder_still_verifies_but_for_torchscript(root):
    code = MISSING + command("verify", str(root / "artifacts/edge"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "not replayed: torch is not installed" in done.stdout
    assert "FAILED" not in done.stdout


def test_without_the_extra_the_benchmark_leaves_pytorch_out_and_says_so(root):
    code = MISSING + command("benchmark", str(root / "artifacts/edge"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    left_out = [line for line in done.stdout.splitlines() if line.startswith("not measured: ")]
    assert [Path(line.split(": ")[1]).name for line in left_out] == ["edge.safetensors", "edge.torchscript.pt"]
    assert "edge: use onnx" in done.stdout


def test_without_the_extra_python_names_it_too():
    code = MISSING + "import fmnist_edge\nfmnist_edge.export_model"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "pip install 'fmnist-edge[export]'" in done.stderr.splitlines()[-1]


def test_a_broken_base_install_is_not_told_to_install_the_workshop():
    code = MISSING.replace('"torch"', '"PIL"') + "import fmnist_edge\nfmnist_edge.Classifier"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'PIL'"


def test_ctrl_c_that_a_compiled_module_passes_on_is_no_missing_package():
    with pytest.raises(KeyboardInterrupt), needs_export_extra("it"):
        raise ImportError("initialization failed") from KeyboardInterrupt()


def test_ctrl_c_behind_another_error_is_found():
    assert interrupt_behind(ImportError("a package is missing")) is None

    def interrupted_import():
        try:
            raise KeyboardInterrupt
        finally:
            raise AttributeError("partially initialized module")

    with pytest.raises(AttributeError) as caught:
        interrupted_import()
    assert isinstance(interrupt_behind(caught.value), KeyboardInterrupt)
    wrapped = RuntimeError("it failed")
    wrapped.__cause__ = caught.value
    assert interrupt_behind(wrapped) is interrupt_behind(caught.value)
