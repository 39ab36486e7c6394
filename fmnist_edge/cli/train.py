"""``fmnist-edge train``."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from fmnist_edge.cli.console import INTERRUPTED, Data, Quiet, complain, named_path, one_line_errors, progress, say, show


@one_line_errors
def train(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="edge, edge_large, cnn, cnn_bn; what those are made from: edge_first, edge_second, edge_third, "
            "edge_large_first, teacher_9, teacher_11, teacher_15.",
        ),
    ],
    epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="[default: the recipe's]")] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, metavar="N", help="The same seed repeats a run. [default: the recipe's]"),
    ] = None,
    out: Annotated[
        Path, typer.Option(parser=named_path, metavar="DIR", help="Where the model's folder is made.")
    ] = Path("runs"),
    teachers: Annotated[
        Path,
        typer.Option(
            parser=named_path,
            metavar="DIR",
            help="Where the models are from which MODEL learns, or as which it begins.",
        ),
    ] = Path("artifacts"),
    data: Data = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last complete epoch.")] = False,
    show_recipe: Annotated[bool, typer.Option("--recipe", help="Show the recipe, train nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train a model of the kit on Fashion-MNIST. Needs the [export] extra.

    Each epoch ends with a checkpoint; Ctrl-C costs the epoch it falls into, and --resume goes on from there.

    \b
    fmnist-edge train edge
    fmnist-edge train edge --recipe
    fmnist-edge train cnn --out /tmp/try && fmnist-edge export --checkpoint /tmp/try/cnn/cnn.safetensors --out /tmp/out
    """
    from fmnist_edge_export.extras import needs_export_extra

    with needs_export_extra("fmnist-edge train"):
        from fmnist_edge_export.data import load
        from fmnist_edge_export.finish import finish
        from fmnist_edge_export.origins import find_origins
        from fmnist_edge_export.progress import Epoch, Run
        from fmnist_edge_export.recipes import recipe_for
        from fmnist_edge_export.record import save_model
        from fmnist_edge_export.train import split
        from fmnist_edge_export.train import train as train_network

    recipe = recipe_for(model)
    asked = (recipe.epochs if epochs is None else epochs, recipe.seed if seed is None else seed)
    if asked != (recipe.epochs, recipe.seed):  # what is told of the recipe as it is would not be true
        recipe = dataclasses.replace(recipe, epochs=asked[0], seed=asked[1], chosen="")
    if show_recipe:
        for name, value in dataclasses.asdict(recipe).items():
            words = ", ".join(value) if isinstance(value, tuple) else str(value)
            show(f"{name:20} {words or '-'}")
        return
    folder = out / model
    checkpoint, finished = folder / "checkpoint.safetensors", folder / f"{model}.safetensors"
    _refuse_to_replace(finished, checkpoint, resume)
    origins = find_origins(model, recipe, teachers)
    test = load("test", data)
    parts = split(load("train", data), test, recipe)
    watched = "validation" if recipe.validation else "test"
    run = Run(model, recipe, origins.digests)

    def report(epoch: Epoch) -> None:
        say(
            f"epoch {epoch.number}/{recipe.epochs}: loss {epoch.loss:.4f}, train {epoch.train_accuracy:.2%}, "
            f"{watched} {epoch.watched_accuracy:.2%}",
            quiet=quiet,
        )

    bars = _EpochBars(recipe.epochs, quiet=quiet)
    with _alone_in(folder):
        _refuse_to_replace(finished, checkpoint, resume)  # again: another run may have come first
        try:
            with bars:
                module, curve = train_network(
                    run,
                    parts,
                    checkpoint,
                    teachers=origins.teachers,
                    beginning=origins.beginning,
                    resume=resume,
                    on_batch=bars.on_batch,
                    on_epoch=report,
                )
        except KeyboardInterrupt:
            kept = f"{checkpoint} holds the last complete epoch; --resume goes on from it"
            complain(f"interrupted; {kept if checkpoint.exists() else 'no epoch was complete, nothing is kept'}")
            raise typer.Exit(INTERRUPTED) from None
        record = finish(run, module, curve, parts, test)
        save_model(folder, module, record)
        checkpoint.unlink()
    show(f"{finished}: {record.test_accuracy:.2%} of the test images right")


def _refuse_to_replace(finished: Path, checkpoint: Path, resume: bool) -> None:
    """Refuse to train over a run that is finished, or over one that is not unless it is to be resumed."""
    from fmnist_edge_runtime.errors import ModelError

    if finished.with_suffix(".json").exists():
        raise ModelError(f"{finished.parent}: holds a finished run; remove that folder, or name another --out")
    if checkpoint.exists() and not resume:
        raise ModelError(f"{checkpoint}: an unfinished run; go on with --resume, remove it, or name another --out")


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Make a folder and keep other runs out of it; if nothing comes of the run, it goes again.

    One that cannot be written to is found out here, not after an epoch.
    """
    from fmnist_edge_export.folder import locked, remove_empty
    from fmnist_edge_runtime.errors import ModelError

    with contextlib.ExitStack() as held:
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        held.enter_context(tempfile.TemporaryFile(dir=folder))
        another = f"{folder}: another run trains there; wait for its end, or name another --out"
        try:
            held.enter_context(locked(folder, wait=False))
        except BlockingIOError as error:
            raise ModelError(another) from error
        except OSError:  # a network's file system without locks
            pass
        if not folder.is_dir():  # that run has just ended, and taken it away
            raise ModelError(another)
        held.callback(remove_empty, made)  # while it is locked
        yield


class _EpochBars(contextlib.ExitStack):
    """A bar for each epoch in turn, so that the lines between them stay whole."""

    def __init__(self, epochs: int, *, quiet: bool) -> None:
        super().__init__()
        self.epochs, self.quiet = epochs, quiet

    def on_batch(self, epoch: int, batch: int, batches: int) -> None:
        if batch == 1:
            label = f"epoch {epoch}/{self.epochs}"
            self.advance = self.enter_context(progress(batches, label, quiet=self.quiet))
        self.advance(1)
        if batch == batches:
            self.close()
