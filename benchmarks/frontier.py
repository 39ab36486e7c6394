"""Accuracy against latency and size for every ONNX file given: the picture and the tables of docs/models.md.

    python benchmarks/frontier.py docs/frontier.png artifacts/edge artifacts/edge_large artifacts/cnn artifacts/cnn_bn

Latency is measured in one run, as `fmnist-edge benchmark` does; accuracy on the 10,000 test images. Needs [export].
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from fmnist_edge_export.benchmark import Row, benchmark, find_files
from fmnist_edge_export.cpu import this_cpu
from fmnist_edge_export.data import load
from fmnist_edge_export.evaluate import Evaluation, evaluate
from fmnist_edge_runtime.classifier import Classifier

# Test accuracy in percent, published without a latency: drawn as lines.
PUBLISHED = {"2 conv layers, under 100 k": 92.5, "ResNet-20 + random erasing": 95.98, "DARTS, fine-tuned": 96.91}


def main(picture: Path, folders: list[Path]) -> None:
    """Measure, print one Markdown row a file, draw the picture."""
    files = [file for file in find_files(folders) if file.suffix == ".onnx"]
    result, test = benchmark(files, threads=1), load("test")
    cpu = this_cpu()
    print(f"{cpu.name} ({' '.join(cpu.instructions)}), one thread; x: against {result.reference}\n")
    print("| model | form | accuracy | NLL | ECE | one picture | x | bulk | memory | file |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    points = []
    for row in result.rows:
        with Classifier(row.path) as classifier:
            measured = evaluate(classifier, test)
        points.append((row, measured))
        memory = f"{row.peak_memory / 2**20:.0f} MiB" if row.peak_memory else "-"
        print(
            f"| `{row.model}` | {row.form} | {measured.accuracy:.2%} | {measured.nll:.3f} | {measured.ece:.2%} | "
            f"{row.latency_us:.0f} us | {row.ratio:.2f} | {row.images_per_second:,.0f} /s | {memory} | "
            f"{row.bytes / 1e3:,.0f} kB |"
        )
    draw(picture, points, cpu.name)


def draw(picture: Path, points: list[tuple[Row, Evaluation]], cpu: str) -> None:
    """Draw the error over latency on ``cpu``; the area of a dot is the size of the file."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, accuracy in PUBLISHED.items():
        error = 100 - accuracy
        axes.axhline(error, color="grey", linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{name}: {accuracy} %", (0.01, error), xycoords=("axes fraction", "data"), ha="left", va="bottom"
        )
    for row, measured in points:
        error = 100 * (1 - measured.accuracy)
        is_int8 = row.form == "onnx-int8"
        axes.scatter(row.latency_us, error, s=row.bytes / 1e4, alpha=0.6, color=f"C{not is_int8:d}")
        away = (0, 12 if is_int8 else -16)  # above and below: the two forms of a net are near each other
        name = f"{row.model} {row.form}"
        axes.annotate(
            name,
            (row.latency_us, error),
            away,
            textcoords="offset points",
            ha="center",
            va="center",
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},  # over a published line
        )
    axes.set(
        xlabel=f"latency of one picture, one thread of {cpu}, microseconds",
        ylabel="test error, % (logarithmic, better above)",
        xscale="log",
        yscale="log",
        title="Error over latency; the dot's area is the file's size",
    )
    axes.invert_yaxis()
    axes.margins(x=0.15, y=0.1)
    for axis, ticks in ((axes.xaxis, (50, 100, 200, 400, 800)), (axes.yaxis, (3, 4, 5, 6, 8, 10, 20, 40))):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
