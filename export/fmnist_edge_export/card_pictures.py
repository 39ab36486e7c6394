"""The pictures of a model card: how it learned, what it confuses, whether its probabilities hold, where it fails."""

import io
import warnings
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fmnist_edge_export.calibration import BINS, confidence_bins
from fmnist_edge_export.record import Record
from fmnist_edge_runtime.errors import printable
from fmnist_edge_runtime.session import Images

_MISTAKES = (4, 8)  # rows and columns of the contact sheet
_DPI = 100
_LONGEST_LABEL = 12  # letters, above one of the mistakes
_LONGEST_NAME = 28  # letters, beside a confusion matrix
_MOST_NAMED = 20  # labels of a confusion matrix


def _as_text(name: str) -> str:
    """Return a name as matplotlib draws it, and not as the formula that dollar signs make of it."""
    return name.replace("$", r"\$")


def _shortened(label: str, most: int) -> str:
    text = printable(label)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def curve_png(record: Record) -> bytes:
    """Draw the accuracies after each epoch of a record that has a curve."""
    numbers = [epoch["number"] for epoch in record.curve]
    watched = "validation" if record.recipe and record.recipe["validation"] else "test"
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for key, name in (("train_accuracy", "training images"), ("watched_accuracy", f"{watched} images")):
        axes.plot(
            numbers, [100 * epoch[key] for epoch in record.curve], label=name, marker="." if len(numbers) < 20 else ""
        )
    axes.set(xlabel="epoch", ylabel="accuracy, %", title=f"{_as_text(record.name)}: accuracy after each epoch")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return _png(figure)


def confusion_png(title: str, names: tuple[str, ...], probabilities: np.ndarray, labels: np.ndarray) -> bytes:
    """Draw what was called what, in percent of each true label; ``labels`` are integers ``[N]``."""
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, (labels, probabilities.argmax(axis=1)), 1)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(7, 6.2), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=10)  # the root, so that a few percent can be seen
    axes.set(xlabel="called", ylabel="is", title=f"{_as_text(title)}: percent of each label")
    if len(names) > _MOST_NAMED:  # names and figures would cover one another; labels are numbered instead
        return _png(figure)
    for row, column in np.argwhere(counts > 0):
        share = shares[row, column]
        axes.text(
            column,
            row,
            f"{share:.1f}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if share > 40 else "black",
        )
    texts = [_as_text(_shortened(name, _LONGEST_NAME)) for name in names]
    axes.set_xticks(range(len(names)), texts, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), texts)
    return _png(figure)


def reliability_png(title: str, probabilities: np.ndarray, labels: np.ndarray) -> bytes:
    """Draw accuracy against confidence in ``BINS`` equal bins (Guo et al. 2017, arXiv 1706.04599, figure 1)."""
    counts, _, accuracy = confidence_bins(probabilities, labels)
    figure = Figure(figsize=(5.2, 5), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    left = np.arange(BINS) / BINS
    above.bar(left[counts > 0], accuracy[counts > 0], 1 / BINS, align="edge", edgecolor="white", label="accuracy")
    above.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="as it should be")
    above.set(ylabel="accuracy", ylim=(0, 1), title=f"{_as_text(title)}: is it right as often as it is sure?")
    above.legend(loc="upper left")
    below.bar(left, counts, 1 / BINS, align="edge", edgecolor="white", color="grey")
    below.set(xlabel="confidence", ylabel="images", yscale="log", xlim=(0, 1))
    return _png(figure)


def mistakes_png(
    title: str, names: tuple[str, ...], images: Images, probabilities: np.ndarray, labels: np.ndarray
) -> bytes:
    """Draw the images that were called wrong with the most confidence, the worst first."""
    given, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(given != labels)
    rows, columns = _MISTAKES
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][: rows * columns]
    figure = Figure(figsize=(11, 6.8), layout="constrained")
    figure.suptitle(f"{_as_text(title)}: the surest mistakes of {len(wrong):,} (what it is / what it was called)")
    for position in range(rows * columns):
        axes: Any = figure.add_subplot(rows, columns, position + 1)
        axes.axis("off")
        if position < len(worst):
            index = worst[position]
            axes.imshow(images[index], cmap="gray", vmin=0, vmax=255)
            truth, called = (_shortened(names[each], _LONGEST_LABEL) for each in (labels[index], given[index]))
            axes.set_title(_as_text(f"{truth}\n{called} {confidence[index]:.1%}"), fontsize=8)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of labels in letters that the font has not
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
