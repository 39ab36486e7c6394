"""``fmnist-edge benchmark``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fmnist_edge.cli.console import Quiet, Threads, named_path, one_line_errors, progress, show


@one_line_errors
def benchmark(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            parser=named_path,
            metavar="[PATH]...",
            help="Model files or folders. [default: artifacts, or the bundled model]",
        ),
    ] = None,
    threads: Threads = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    quiet: Quiet = False,
) -> None:
    """Time every model and form side by side, and say which form to use on this machine.

    PyTorch (eager, from the weights) and TorchScript are measured where torch is installed. Files take turns in one
    run; ratios are against the fp32 ONNX cnn where it is among them, else against the first file.

    \b
    fmnist-edge benchmark
    fmnist-edge benchmark artifacts/edge other.onnx --json
    """
    from dataclasses import asdict

    import numpy
    import onnxruntime

    from fmnist_edge_export.benchmark import benchmark as run_benchmark
    from fmnist_edge_export.benchmark import default_paths, find_files, steps
    from fmnist_edge_export.cpu import this_cpu

    files = find_files(paths or default_paths())
    cpu = this_cpu()
    with progress(steps(files), "measuring", quiet=quiet) as advance:
        result = run_benchmark(files, threads=threads, on_round=lambda: advance(1))
    if as_json:
        versions = {"onnxruntime": onnxruntime.__version__, "numpy": numpy.__version__}
        show(json.dumps({"cpu": asdict(cpu), "threads": threads, "versions": versions, **asdict(result)}))
        return
    int8 = {True: "int8 fast (VNNI or the like)", False: "no VNNI or the like", None: "unknown"}
    show(f"{cpu.name}: {' '.join(cpu.instructions) or 'instructions unknown'}; {int8[cpu.int8]}")
    show(f"onnxruntime {onnxruntime.__version__}, threads {threads}; x: against {result.reference}")
    show("")
    width = max(len(row.model) for row in result.rows)
    show(f"{'model':{width}}  {'form':11}  {'one, us':>8}  {'x':>6}  {'bulk, /s':>8}  {'memory':>8}  {'file':>9}")
    for row in result.rows:
        memory = f"{row.peak_memory / 2**20:.0f} MiB" if row.peak_memory else "-"
        show(
            f"{row.model:{width}}  {row.form:11}  {row.latency_us:8.1f}  {row.ratio:6.2f}  "
            f"{row.images_per_second:8.0f}  {memory:>8}  {row.bytes / 1e3:6.0f} kB"
            + ("" if row.exact is not False else "  self-test fails here")
        )
    show("")
    for advice in result.advice:
        show(f"{advice.model}: use {advice.form} ({advice.why})")
    for line in result.left_out:
        show(f"not measured: {line}")
