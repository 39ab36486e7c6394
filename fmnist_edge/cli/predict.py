"""``fmnist-edge predict``."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_edge.cli.console import (
    FAILED,
    Quiet,
    complain,
    leaving_on_interrupt,
    one_line_errors,
    printable,
    progress,
    show,
    without_library_noise,
)

if TYPE_CHECKING:
    from fmnist_edge_runtime.classifier import Classifier
    from fmnist_edge_runtime.errors import ImageError
    from fmnist_edge_runtime.prediction import Prediction

STDIN = "-"


class ReadingWay(StrEnum):
    """How a picture is read."""

    AUTO = "auto"
    PHOTO = "photo"
    FMNIST = "fmnist"


@one_line_errors
def predict(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Pictures, folders, or - for standard input.")
    ],
    top: Annotated[int, typer.Option("-k", min=1, metavar="N", help="How many labels to give for each.")] = 3,
    recursive: Annotated[bool, typer.Option("-r", help="Also look into the folders below a folder.")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object a line, for programs.")] = False,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An exported ONNX file. [default: edge, int8]")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads inside one inference.")] = 1,
    read_as: Annotated[
        ReadingWay, typer.Option("--as", help="photo: cut the article out; fmnist: take the picture as it is.")
    ] = ReadingWay.AUTO,
    save_view: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw into DIR, for each picture, what was cut out, seen and answered."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Say what is in pictures.

    Photographs are cut out: the article alone, light on black, as Fashion-MNIST has it. Pictures in that form already
    are left as they are. Those that cannot be read are reported, and never stop the others.

    \b
    fmnist-edge predict boot.png photo.jpg
    fmnist-edge predict photo.jpg --save-view views/
    fmnist-edge predict -r wardrobe/ --jsonl > answers.jsonl
    curl -s https://example.org/boot.png | fmnist-edge predict -

    Exit code 0: every input was read; 1: some were not; 2: wrong options, or no usable model.
    """
    from fmnist_edge_runtime.classifier import Classifier
    from fmnist_edge_runtime.errors import ImageError

    failures = 0
    with leaving_on_interrupt(), without_library_noise(), Classifier(model, threads=threads) as classifier:
        names = [name for given in inputs for name in _expand(given, recursive)]
        sources = (sys.stdin.buffer if name == STDIN else name for name in names)
        # A bar among lines of results helps nobody, so it needs results that go elsewhere.
        no_bar = quiet or len(names) == 1 or sys.stdout.isatty()
        with progress(len(names), "predicting", quiet=no_bar) as advance:
            answers = (
                classifier.predict_many(sources, read_as=read_as.value, errors="return")
                if save_view is None
                else _explained(classifier, names, sources, read_as, save_view)
            )
            for name, answer in zip(names, answers, strict=True):
                failures += isinstance(answer, ImageError)
                _report(name, answer, top, jsonl)
                advance(1)
    if failures:
        raise typer.Exit(FAILED)


def _explained(
    classifier: "Classifier", names: list[str], sources: Iterable[Any], read_as: ReadingWay, folder: Path
) -> "Iterator[Prediction | ImageError]":
    """Yield each answer, its view saved under the picture's place in the call and its name."""
    from fmnist_edge_runtime.errors import ImageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{printable(str(folder))}: cannot be made ({error.strerror})"
        raise typer.BadParameter(reason, param_hint="--save-view") from error
    for number, (name, source) in enumerate(zip(names, sources, strict=True), start=1):
        try:
            answer, view = classifier.explain(source, read_as=read_as.value)
        except ImageError as error:
            yield error
            continue
        view.save(folder / f"{number:04d}-{re.sub(r'[^A-Za-z0-9_.-]', '_', Path(name).stem)[:80]}.png")
        yield answer


def _expand(given: str, recursive: bool) -> list[str]:
    """Return the pictures that one argument stands for; a folder without any stands for itself, and will fail."""
    from fmnist_edge_runtime.picture import SUFFIXES

    folder = Path(given)
    if given == STDIN or not folder.is_dir():
        return [given]
    found = sorted(folder.glob("**/*" if recursive else "*"))
    return [str(path) for path in found if path.suffix.lower() in SUFFIXES and path.is_file()] or [given]


def _report(name: str, answer: "Prediction | ImageError", top: int, jsonl: bool) -> None:
    from fmnist_edge_runtime.errors import ImageError

    if isinstance(answer, ImageError):
        reason = str(answer).removeprefix(f"{Path(name)}: ").removeprefix("the picture given as a file: ")
        if name != STDIN and Path(name).is_dir():
            reason = "a folder without pictures; -r also looks into the folders below it"
        if jsonl:
            show(json.dumps({"path": name, "status": "error", "error": reason}))
        else:
            complain(f"{name}: {reason}")
        return
    best = answer.top(top)
    if jsonl:
        record = {
            "path": name,
            "status": "ok",
            "label": answer.label,
            "index": answer.index,
            "confidence": round(answer.confidence, 6),
            "known": answer.known,
            "as": answer.read_as,
            "top": [{**asdict(candidate), "probability": round(candidate.probability, 6)} for candidate in best],
        }
        show(json.dumps(record))
        return
    labels = ", ".join(f"{candidate.label} {candidate.probability:.1%}" for candidate in best)
    show(f"{name}: {labels}" if answer.known else f"{name}: unknown (perhaps {labels})")
