"""The model card: README.md of a model's folder, made from its record and what was measured."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_edge_export import card_pictures
from fmnist_edge_export.files import write_atomically
from fmnist_edge_export.record import Record
from fmnist_edge_runtime.errors import printable
from fmnist_edge_runtime.session import Images

CURVE, CONFUSION, RELIABILITY, MISTAKES = PICTURES = ("curve.png", "confusion.png", "reliability.png", "mistakes.png")


@dataclass(frozen=True)
class Answers:
    """What one exported file answered: uint8 images ``[N, H, W]``, their labels ``[N]``, probabilities ``[N, K]``.

    ``words`` says what the images are.
    """

    file: str
    words: str
    images: Images
    labels: np.ndarray
    probabilities: np.ndarray


def write_card(folder: Path, record: Record, entries: dict[str, dict[str, Any]], answers: Answers | None) -> None:
    """Write ``README.md`` and its pictures: the curve where the record has one, the others where there are answers."""
    if record.curve:
        write_atomically(folder / CURVE, card_pictures.curve_png(record))
    if answers:
        chances, labels = answers.probabilities, answers.labels
        drawn = {
            CONFUSION: card_pictures.confusion_png(answers.file, record.labels, chances, labels),
            RELIABILITY: card_pictures.reliability_png(answers.file, chances, labels),
            MISTAKES: card_pictures.mistakes_png(answers.file, record.labels, answers.images, chances, labels),
        }
        for name, content in drawn.items():
            write_atomically(folder / name, content)
    text = "\n".join(
        [*_introduction(record), *_training(record), *_forms(entries), *_pictures(answers), *_limits(record)]
    )
    write_atomically(folder / "README.md", text.encode())


def is_card(path: Path, name: str) -> bool:
    """Tell whether a README is a card of a model called ``name``, as far as its beginning says."""
    beginning = f"# {name}\n\nA classifier of ".encode()
    with path.open("rb") as file:
        return file.read(len(beginning)) == beginning


def _introduction(record: Record) -> list[str]:
    right = record.test_accuracy
    accuracy = [] if right is None else [f"| accuracy, fp32 | {right:.2%} of the 10,000 test images right |"]
    return [
        f"# {record.name}",
        "",
        f"A classifier of {record.height} x {record.width} grey pictures, light article on black, with "
        f"{len(record.labels)} labels: {', '.join(map(_plain, record.labels))}.",
        "",
        "| | |",
        "| --- | --- |",
        f"| architecture | `{record.architecture}` |",
        *accuracy,
        f"| temperature | {record.temperature:g} |",
        f"| known from | a best probability of {record.unknown_threshold:g} |",
        f"| licence | {_plain(record.licence) or 'not given'} |",
        f"| sha256 of the weights | `{record.weights_sha256}` |",
        "",
    ]


def _training(record: Record) -> list[str]:
    if not record.curve or not record.recipe:
        return []
    watched = "validation" if record.recipe["validation"] else "test"
    last = record.curve[-1]
    settings = ", ".join(
        f"{name} {value}" for name, value in record.recipe.items() if value and name not in ("chosen", "epochs", "seed")
    )
    return [
        "## Training",
        "",
        f"`fmnist-edge train {record.name} --epochs {record.recipe['epochs']} --seed {record.seed}`: {settings}.",
        "",
        f"After epoch {last['number']:.0f}: loss {last['loss']:.4f}, {last['train_accuracy']:.2%} of the training and "
        f"{last['watched_accuracy']:.2%} of the {watched} images right.",
        "",
        "![Accuracy after each epoch](curve.png)",
        "",
        *(f"- {note}" for note in record.notes),
        "",
    ]


def _forms(entries: dict[str, dict[str, Any]]) -> list[str]:
    rows = [
        f"| `{entry['file']}` | {m['dlogit_max']:.2g} | {len(m['flips'])} of {m['images']} | "
        f"{_percent(m, 'file')} | {_number(m, 'nll')} | {_number(m, 'ece')} |"
        for entry in entries.values()
        for m in [entry["measured"]]
    ]
    first = next(iter(entries.values()))["measured"]
    return [
        "## Exported forms",
        "",
        f"Each against the float PyTorch module, on {first['decided_on']}; max \\|dlogit\\| on made-up ones as well.",
        "",
        "| file | max \\|dlogit\\| | labels that flip | accuracy | NLL | ECE, 15 bins |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
    ]


def _pictures(answers: Answers | None) -> list[str]:
    if answers is None:
        return []
    return [
        "## How it answers",
        "",
        f"`{answers.file}` on {answers.words}.",
        "",
        f"![What is called what]({CONFUSION})",
        "",
        f"![Accuracy against confidence]({RELIABILITY})",
        "",
        f"![The surest mistakes]({MISTAKES})",
        "",
    ]


def _limits(record: Record) -> list[str]:
    data = "Trained on Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747; MIT, (c) 2017 Zalando SE)."
    doubts = record.recipe is not None and record.recipe.get("strangers")
    but = "but was taught on generated pictures to doubt it" if doubts else "with a probability that means little"
    return [
        "## Limits",
        "",
        *([data] if record.dataset else []),
        "It answers for pictures like those it was trained on: one article, light on black, filling the frame. Of "
        f"anything else it still names a label, {but}.",
        "",
    ]


def _plain(text: str) -> str:
    """Return Markdown that reads as ``text``, on one line."""
    return re.sub(r"[\\`*_\[\]<>|&]", r"\\\g<0>", printable(text))


def _percent(measured: dict[str, Any], name: str) -> str:
    return f"{measured['accuracy'][name]:.2%}" if measured["accuracy"] else "-"


def _number(measured: dict[str, Any], name: str) -> str:
    return f"{measured['accuracy'][name]:.4f}" if measured["accuracy"] else "-"
