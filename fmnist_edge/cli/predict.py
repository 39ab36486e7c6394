"""``fmnist-edge predict``."""

import contextlib
import functools
import io
import math
import os
import re
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from fmnist_edge.cli.answers import STDIN, Said, is_folder, print_said, say_of
from fmnist_edge.cli.console import (
    FAILED,
    Quiet,
    Threads,
    leaving_on_interrupt,
    named_path,
    one_line_errors,
    progress,
    without_library_noise,
)
from fmnist_edge_runtime.errors import printable

if TYPE_CHECKING:
    from PIL.Image import Image

    from fmnist_edge_runtime.classifier import Classifier
    from fmnist_edge_runtime.picture import PictureSource
    from fmnist_edge_runtime.prediction import Prediction
    from fmnist_edge_runtime.reader import ReadAs

_MANY = 64  # pictures for which it pays to start processes: that takes as long as reading some hundred small ones


@one_line_errors
def predict(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Pictures, folders, or - for standard input.")
    ],
    top: Annotated[int, typer.Option("-k", min=1, metavar="N", help="How many labels to give for each.")] = 3,
    recursive: Annotated[bool, typer.Option("-r", help="Also look into the folders below a folder.")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object a line, for programs.")] = False,
    model: Annotated[
        Path | None,
        typer.Option(parser=named_path, metavar="FILE", help="An exported ONNX file. [default: edge, int8]"),
    ] = None,
    threads: Threads = 1,
    read_as: Annotated[
        Literal["auto", "photo", "fmnist"],
        typer.Option("--as", help="photo: cut the article out; fmnist: take the picture as it is."),
    ] = "auto",
    save_view: Annotated[
        Path | None,
        typer.Option(
            parser=named_path,
            metavar="DIR",
            help="Draw into DIR, no folder of INPUT, what was cut out, seen and answered in each picture.",
        ),
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
    if "" in inputs:  # of a shell variable that is not set; as a path it would be the folder one stands in
        raise typer.BadParameter("an INPUT is empty; name a picture, a folder or -")
    if inputs.count(STDIN) > 1:
        raise typer.BadParameter("- is given twice, and standard input can be read once")
    if save_view:
        _refuse_among(inputs, save_view, recursive)
    from fmnist_edge_runtime.classifier import Classifier

    failures = 0
    with leaving_on_interrupt(), without_library_noise(), Classifier(model, threads=threads) as classifier:
        names = [name for given in inputs for name in _expand(given, recursive)]
        asked = _Asked(read_as, top, jsonl)
        # A bar among lines of results helps nobody, so it needs results that go elsewhere.
        no_bar = quiet or len(names) == 1 or sys.stdout.isatty()
        many = _explained(classifier, names, asked, save_view) if save_view else _answered(classifier, names, asked)
        # Closed whatever happens: no process that reads pictures is left behind.
        with progress(len(names), "predicting", quiet=no_bar) as advance, contextlib.closing(many):
            for said in many:
                print_said(said)
                failures += said.failures
                advance(said.pictures)
    if failures:
        raise typer.Exit(FAILED)


def _refuse_among(inputs: list[str], views: Path, recursive: bool) -> None:
    """Refuse to draw into a folder of pictures: the next call would take the drawings for pictures."""
    for given in inputs:
        if is_folder(given) and _holds(_real(given), _real(views), recursive):
            where = f'"{printable(str(views))}" is, or is in, the folder "{printable(given)}"'
            reason = f"{where}, where its drawings would be read as pictures; name another folder"
            raise typer.BadParameter(reason, param_hint="--save-view")


def _real(path: str | Path) -> Path:
    return Path(os.path.realpath(path))  # pathlib's own way fails where a link leads to itself


def _holds(folder: Path, other: Path, recursive: bool) -> bool:
    return folder == other or (recursive and folder in other.parents)


class _Asked(NamedTuple):
    """How pictures are to be read and answers to be written."""

    read_as: "ReadAs"
    top: int
    jsonl: bool


def _answered(classifier: "Classifier", names: list[str], asked: _Asked) -> Generator[Said, None, None]:
    """Yield what is said of all pictures in order, a batch at a time, by as many hands as there are cores allowed."""
    from fmnist_edge_runtime.ahead import map_ahead
    from fmnist_edge_runtime.batches import MOST_AT_ONCE
    from fmnist_edge_runtime.cores import allowed_cores

    cores = allowed_cores()
    size = min(MOST_AT_ONCE, math.ceil(len(names) / (4 * cores)))  # no core is left with a batch while others rest
    batches = [names[start : start + size] for start in range(0, len(names), size)]
    answer = functools.partial(_answered_batch, classifier, asked)
    hands = min(cores, len(batches))
    if hands > 1 and len(names) >= _MANY and STDIN not in names:
        from fmnist_edge.cli import processes

        if processes.POSSIBLE:
            return processes.map_in_processes(answer, batches, hands)
    return map_ahead(answer, batches, hands)


def _answered_batch(classifier: "Classifier", asked: _Asked, names: list[str]) -> Said:
    answers = classifier.predict_many(map(_source, names), read_as=asked.read_as, errors="return", workers=1)
    return say_of(zip(names, answers, strict=True), asked.top, asked.jsonl)


def _explained(classifier: "Classifier", names: list[str], asked: _Asked, folder: Path) -> Generator[Said, None, None]:
    """Yield what is said of each picture, its view saved under the picture's place in the call and its name."""
    from fmnist_edge_runtime.errors import ImageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{printable(str(folder))}: cannot be made ({error.strerror})"
        raise typer.BadParameter(reason, param_hint="--save-view") from error
    drawings = [_drawing(folder, number, name) for number, name in enumerate(names, start=1)]
    for drawing in set(map(_real, drawings)).intersection(_real(name) for name in names if name != STDIN):
        reason = f'"{printable(str(drawing))}" is an INPUT, which a drawing would replace; name another folder'
        raise typer.BadParameter(reason, param_hint="--save-view")
    for name, drawing in zip(names, drawings, strict=True):
        answer: Prediction | ImageError
        try:
            answer, view = classifier.explain(_source(name), read_as=asked.read_as)
        except ImageError as error:
            answer, view = error, None
        yield say_of([(name, answer)], asked.top, asked.jsonl)  # also where the drawing cannot be saved
        if view:
            _save(view, drawing)


def _save(view: "Image", drawing: Path) -> None:
    """Save a view whole or not at all, whenever Ctrl-C comes; a link of its name is replaced, not followed."""
    content = io.BytesIO()
    view.save(content, "PNG")
    unfinished = drawing.with_name(f".{drawing.name}.{os.getpid()}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)  # of a process that was killed; a link there may lead to anything
        with unfinished.open("xb") as file:
            file.write(content.getvalue())
        unfinished.replace(drawing)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(drawing)) from error


def _drawing(folder: Path, number: int, name: str) -> Path:
    return folder / f"{number:04d}-{re.sub(r'[^A-Za-z0-9_.-]', '_', Path(name).stem)[:80]}.png"


def _source(name: str) -> "PictureSource":
    return sys.stdin.buffer if name == STDIN else name


def _expand(given: str, recursive: bool) -> list[str]:
    """Return the pictures that one argument stands for; a folder without any stands for itself, and will fail."""
    if not is_folder(given):
        return [given]
    folder = Path(given)
    return list(_pictures_in("" if folder == Path() else str(folder), recursive)) or [given]


def _pictures_in(folder: str, recursive: bool) -> Iterator[str]:
    """Yield the pictures in a folder, by name; a folder that cannot be listed stands for itself, and will fail.

    pathlib's own ways take as long as reading half of the pictures, and folders may lie deeper than calls may.
    """
    from fmnist_edge_runtime.picture import SUFFIXES

    waiting: list[tuple[str, os.DirEntry[str] | None]] = [(folder, None)]
    while waiting:
        path, entry = waiting.pop()
        if entry and os.path.splitext(path)[1].lower() in SUFFIXES and _is_picture(entry):  # noqa: PTH122
            yield path
        elif not entry or (recursive and entry.is_dir(follow_symlinks=False)):
            try:
                with os.scandir(path or ".") as found:
                    inside = sorted(found, key=lambda entry: entry.name, reverse=True)
            except OSError:
                yield path or "."
                continue
            waiting += [(os.path.join(path, entry.name), entry) for entry in inside]  # noqa: PTH118


def _is_picture(entry: "os.DirEntry[str]") -> bool:
    """Tell whether an entry is a file, or a link to what cannot be found: a picture that somebody misses."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110
    except OSError:  # a link that leads to itself
        return True
