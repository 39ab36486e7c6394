"""The runtime works where torch, onnx and typer will never be."""

import subprocess
import sys

CODE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx", "onnxscript", "typer", "safetensors", "fmnist_edge_export"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
import pkgutil, importlib, fmnist_edge_runtime
for module in pkgutil.iter_modules(fmnist_edge_runtime.__path__):
    importlib.import_module(f"fmnist_edge_runtime.{module.name}")
import numpy
from fmnist_edge_runtime.classifier import Classifier
print(Classifier().predict(numpy.zeros((28, 28), numpy.uint8)).label)
"""


def test_the_whole_runtime_imports_and_predicts_without_the_workshop():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_package_and_its_errors_cost_nothing():
    code = "import sys, fmnist_edge_runtime.errors; print(*{'numpy', 'onnxruntime', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_what_reads_avifs_is_not_loaded_for_other_pictures():
    code = """
import io, sys
from PIL import Image
from fmnist_edge_runtime.reader import read_picture
Image.new("L", (60, 60)).save(file := io.BytesIO(), "PNG")
read_picture(file.getvalue(), 28, 28)
print(*{"fmnist_edge_runtime.avif", "fmnist_edge_runtime.av1"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
