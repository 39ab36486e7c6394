"""What ``predict`` prints: a line for each picture, for people or for programs."""

import itertools
import json
import os
from collections.abc import Iterable
from typing import NamedTuple

from fmnist_edge.cli.console import complain, show
from fmnist_edge_runtime.errors import ImageError, printable
from fmnist_edge_runtime.prediction import Prediction

STDIN = "-"


class Said(NamedTuple):
    """What is said of some pictures: how many they are, how many failed, and the lines of text in order.

    Each part is whether it goes to standard error, and lines that go there together.
    """

    pictures: int
    failures: int
    parts: list[tuple[bool, list[str]]]


def is_folder(given: str) -> bool:
    """Tell whether an INPUT is a folder; one whose name is too long, or that may not be looked at, is none."""
    return given != STDIN and os.path.isdir(given)  # noqa: PTH112 - Path.is_dir raises for those


def say_of(answers: Iterable[tuple[str, Prediction | ImageError]], top: int, jsonl: bool) -> Said:
    """Put named answers into words, with their ``top`` labels."""
    given = list(answers)
    failed = [isinstance(answer, ImageError) for _, answer in given]
    lines = (_record(*one, top) if jsonl else _sentence(*one, top) for one in given)
    parts = [
        (complaint, [line for _, line in group])
        for complaint, group in itertools.groupby(zip(failed, lines, strict=True), lambda one: one[0] and not jsonl)
    ]
    return Said(len(given), sum(failed), parts)


def print_said(said: Said) -> None:
    """Print in order, with as few writes to standard output as that allows."""
    for complaint, lines in said.parts:
        if complaint:
            for line in lines:
                complain(line)
        else:
            show(*lines)


def _sentence(name: str, answer: Prediction | ImageError, top: int) -> str:
    if isinstance(answer, ImageError):
        return f"{name}: {_reason(name, answer)}"
    labels = ", ".join(f"{candidate.label} {candidate.probability:.1%}" for candidate in answer.top(top))
    return f"{printable(name)}: {labels}" if answer.known else f"{printable(name)}: unknown (perhaps {labels})"


def _record(name: str, answer: Prediction | ImageError, top: int) -> str:
    if isinstance(answer, ImageError):
        return json.dumps({"path": name, "status": "error", "error": _reason(name, answer)})
    return json.dumps(
        {
            "path": name,
            "status": "ok",
            "label": answer.label,
            "index": answer.index,
            "confidence": round(answer.confidence, 6),
            "known": answer.known,
            "as": answer.read_as,
            "top": [
                {"label": best.label, "index": best.index, "probability": round(best.probability, 6)}
                for best in answer.top(top)
            ],
        }
    )


def _reason(name: str, error: ImageError) -> str:
    if is_folder(name) and os.access(name, os.R_OK):
        return "a folder without pictures (with -r those below it count, but none through links)"
    return str(error).removeprefix(f"{printable(name)}: ").removeprefix("the picture given as a file: ")
