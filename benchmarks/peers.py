"""The shipped files against what users have: the same trained `edge`, one picture at a time, on one core.

    pip install -e '.[export,peers]'
    python benchmarks/peers.py --convert    # once, for LiteRT: an environment of 7 GB, made, used and removed
    python benchmarks/peers.py

Every peer takes the same uint8 pictures and gives probabilities; each is first checked to be the same net. Prints the
table of docs/performance.md.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from turns import in_turns, pin_to_one_core

pin_to_one_core()  # before the libraries look for cores

import numpy as np
import onnxruntime
import openvino
import torch
from ai_edge_litert.interpreter import Interpreter

from fmnist_edge import Classifier
from fmnist_edge_export.cpu import this_cpu
from fmnist_edge_export.data import load_sample
from fmnist_edge_export.formats.onnx_contract import onnx_contract
from fmnist_edge_export.formats.onnx_core import export_core
from fmnist_edge_export.formats.quantise import quantise_as_it_is
from fmnist_edge_export.formats.scores import Scores
from fmnist_edge_export.formats.torchscript import Contracted
from fmnist_edge_export.record import load_model
from fmnist_edge_runtime.session import Floats, Images

FOLDER = Path(__file__).resolve().parents[1] / "artifacts" / "edge"
CONVERTED = Path("runs/peers")
CONVERTER = ("litert-torch>=0.10,<0.11",)
ROUNDS, IN_A_ROW = 60, 40
OURS = "fmnist-edge"
MOST_OTHERS = {"fp32": 0, "bf16": 10, "int8": 10}  # labels of the 1,000 pictures that may differ from ours in fp32


@dataclass(frozen=True)
class Peer:
    """A library with the net in one precision, and how it is called: uint8 ``[1, 28, 28]`` to ``[1, 10]``."""

    library: str
    precision: str
    how: str
    probabilities: Callable[[Images], Floats]


def ours() -> Iterator[Peer]:
    """Yield the shipped files through the public API."""
    for precision, name in (("int8", "edge.int8.onnx"), ("fp32", "edge.onnx")):
        yield Peer(OURS, precision, f"`Classifier.probabilities`, {name}", Classifier(FOLDER / name).probabilities)


def bare_onnxruntime() -> Iterator[Peer]:
    """Yield int8 with the first layer as it is, in a session like ours: what writing that layer anew is worth."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(plain_int8(), options, providers=["CPUExecutionProvider"])
    yield Peer(
        "onnxruntime", "int8", "session, plain first layer", lambda x: session.run(["probabilities"], {"images": x})[0]
    )


def pytorch() -> Iterator[Peer]:
    """Yield the module itself, and the shipped TorchScript file as it is and optimised for this machine."""
    module, record = load_model(FOLDER / "edge.safetensors")
    eager = Contracted(Scores(module, record.mean, record.std), record.temperature).eval()
    yield Peer("PyTorch", "fp32", "eager, `inference_mode`", in_torch(eager))
    half = in_torch(eager)

    def autocast(images: Images) -> Floats:
        with torch.autocast("cpu", torch.bfloat16):
            return half(images)

    yield Peer("PyTorch", "bf16", "eager, `inference_mode`, `autocast`", autocast)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and what users have
        shipped = torch.jit.load(FOLDER / "edge.torchscript.pt")
        optimised = torch.jit.optimize_for_inference(shipped)
    yield Peer("TorchScript", "fp32", "edge.torchscript.pt", in_torch(shipped))
    yield Peer("TorchScript", "fp32", "edge.torchscript.pt, `optimize_for_inference`", in_torch(optimised))


def in_torch(module: torch.nn.Module) -> Callable[[Images], Floats]:
    """Return a call of a module that has the contract's signature."""

    def run(images: Images) -> Floats:
        with torch.inference_mode():
            probabilities: Floats = module(torch.from_numpy(images))[1].float().numpy()
        return probabilities

    return run


def openvino_() -> Iterator[Peer]:
    """Yield the ONNX files in OpenVINO, called as its first page shows, and at its best.

    The first layer of the shipped int8 file is written for onnxruntime, so OpenVINO also gets int8 without that.
    """
    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    shipped = {name: (FOLDER / name).read_bytes() for name in ("edge.int8.onnx", "edge.onnx")}
    for precision, name, content in (
        ("int8", "edge.int8.onnx", shipped["edge.int8.onnx"]),
        ("int8", "plain first layer", plain_int8()),
        ("bf16", "edge.onnx", shipped["edge.onnx"]),
        ("fp32", "edge.onnx", shipped["edge.onnx"]),
    ):
        hint = {} if precision == "int8" else {"INFERENCE_PRECISION_HINT": precision.replace("fp", "f")}
        called = core.compile_model(core.read_model(content), "CPU", options | hint)
        yield Peer("OpenVINO", precision, f"compiled model called, {name}", lambda x, c=called: c(x)["probabilities"])
        model = core.read_model(content)
        model.reshape({"images": [1, 28, 28]})
        fixed = kept(core.compile_model(model, "CPU", options | hint))
        yield Peer("OpenVINO", precision, f"batch fixed at 1, tensors kept, {name}", fixed)


def plain_int8() -> bytes:
    """Return the shipped int8 file as it would be with its first layer and pooling left as they are."""
    module, record = load_model(FOLDER / "edge.safetensors")
    core = export_core(Scores(module, record.mean, record.std), record.height, record.width)
    quantised = quantise_as_it_is(core, record.ranges or {})
    content: bytes = onnx_contract(quantised, record.height, record.width, record.temperature).SerializeToString()
    return content


def kept(compiled: openvino.CompiledModel) -> Callable[[Images], Floats]:
    """Return a call that copies each picture into one tensor, and returns a view of another."""
    request = compiled.create_infer_request()
    picture = openvino.Tensor(np.zeros((1, 28, 28), np.uint8))
    request.set_input_tensor(picture)
    pixels, probabilities = picture.data, request.get_tensor("probabilities").data

    def run(images: Images) -> Floats:
        pixels[:] = images
        request.infer()
        return probabilities

    return run


def litert() -> Iterator[Peer]:
    """Yield the converted files; int8 takes pixels less 128, which is what scaling comes to there."""
    for precision, name in (("int8", "edge.int8.tflite"), ("fp32", "edge.tflite")):
        if not (CONVERTED / name).is_file():
            print(f"not measured: {CONVERTED / name} is missing; peers.py --convert makes it", file=sys.stderr)
            continue
        interpreter = Interpreter(str(CONVERTED / name), num_threads=1)
        interpreter.allocate_tensors()
        taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        yield Peer(
            "LiteRT",
            precision,
            "interpreter, XNNPACK, batch 1",
            interpreted(interpreter, taken["index"], given["index"], precision),
        )


def interpreted(interpreter: Interpreter, taken: int, given: int, precision: str) -> Callable[[Images], Floats]:
    """Return a call of an interpreter."""

    def run(images: Images) -> Floats:
        pixels = (images ^ np.uint8(128)).view(np.int8) if precision == "int8" else images * np.float32(1 / 255)
        interpreter.set_tensor(taken, pixels)
        interpreter.invoke()
        return interpreter.get_tensor(given)

    return run


def check(peer: Peer, images: Images, labels: np.ndarray) -> None:
    """Stop unless the peer names (nearly) all pictures as our fp32 file does."""
    others = sum(int(peer.probabilities(images[at : at + 1]).argmax() != label) for at, label in enumerate(labels))
    if others > MOST_OTHERS[peer.precision]:
        sys.exit(f"{peer.library} {peer.precision}: {others} of {len(images)} labels differ: not the same net")


def measure() -> None:
    """Check and time all peers, and print the table."""
    torch.set_num_threads(1)
    images = load_sample().images.copy()  # PyTorch warns of arrays that cannot be written
    peers = [*ours(), *bare_onnxruntime(), *pytorch(), *openvino_(), *litert()]
    labels = Classifier(FOLDER / "edge.onnx").probabilities(images).argmax(1)
    for peer in peers:
        check(peer, images, labels)
    times = in_turns(
        {str(n): peer.probabilities for n, peer in enumerate(peers)}, images, rounds=ROUNDS, in_a_row=IN_A_ROW
    )
    reference = times["0"]
    rows = sorted((float(np.median(times[str(n)])), n) for n in range(len(peers)))
    packages = {"PyTorch": "torch", "OpenVINO": "openvino", "LiteRT": "ai-edge-litert", "onnxruntime": "onnxruntime"}
    print(f"{this_cpu().name} ({' '.join(this_cpu().instructions)}), one core; ", end="")
    print(", ".join(f"{name} {metadata.version(package)}" for name, package in packages.items()), end="\n\n")
    print("| | precision | how | one picture | x |\n| --- | --- | --- | --- | --- |")
    for median, number in rows:
        peer, ratio = peers[number], float(np.median(times[str(number)] / reference))
        print(f"| {peer.library} | {peer.precision} | {peer.how} | {median:.0f} us | {ratio:.2f} |")


def convert() -> None:
    """Make LiteRT's files in an environment of their own: litert-torch wants an older torch."""
    CONVERTED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", *CONVERTER], check=True)
        subprocess.run([python, Path(__file__).with_name("litert_convert.py"), CONVERTED], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--convert", action="store_true", help="make LiteRT's files, and measure nothing")
    convert() if parser.parse_args().convert else measure()
