"""One class to embed: a checked model file behind a handful of verbs."""

import functools
import logging
import operator
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

import numpy as np
from PIL import Image

from fmnist_edge_runtime import forks, modelfile
from fmnist_edge_runtime.ahead import map_ahead
from fmnist_edge_runtime.batches import batches, is_one_picture, without_history
from fmnist_edge_runtime.bundled import bundled_model
from fmnist_edge_runtime.contract import PICTURE_READER_VERSION, Contract
from fmnist_edge_runtime.cores import MOST_THREADS, allowed_cores
from fmnist_edge_runtime.errors import ImageError, ModelError, printable
from fmnist_edge_runtime.picture import PictureSource, open_picture
from fmnist_edge_runtime.prediction import Prediction
from fmnist_edge_runtime.reader import ReadAs, Reading, check_way, is_ready, read_image, read_picture
from fmnist_edge_runtime.selftest import Replay, replay
from fmnist_edge_runtime.session import Floats, Images, Session, cannot_run, is_of_the_engine

log = logging.getLogger(__name__)

Given = TypeVar("Given")
Answer = TypeVar("Answer")

_CHUNK = 256  # images in one call of onnxruntime: past this, more memory buys no speed
_UINT8 = np.dtype(np.uint8)


class Classifier:
    """Classifies pictures with one exported ONNX file, on the CPU.

    Safe to share among threads; works in a child after fork; pickles (with the model inside); closes.

        with Classifier() as classifier:
            print(classifier.predict("boot.png").label)
    """

    def __init__(
        self, model: "str | os.PathLike[str] | bytes | bytearray | memoryview | None" = None, *, threads: int = 1
    ) -> None:
        """Check ``model`` (a path or a file's bytes; by default the bundled int8 model) and load it.

        ``threads`` is the number of threads inside one inference, 1 to 1,024.

        Raises:
            ValueError: of another number of threads.
            ModelError: missing, damaged, not one of ours, or onnxruntime cannot run it.
        """
        self._threads = _thread_count("threads", threads)
        given = bundled_model() if model is None else model
        if isinstance(given, str) and not given:  # pathlib would take it for the folder that one stands in
            raise ModelError("an empty path: no model file; name one")
        self._file = modelfile.read(bytes(given) if isinstance(given, bytes | bytearray | memoryview) else Path(given))
        self._load()

    def _load(self) -> None:
        # The session, None once it is closed, and the process that made it: one value, so that no thread sees the one
        # without the other.
        self._live: tuple[Session | None, int] = self._open_session()
        self._warn_if_unfit()

    def _open_session(self) -> tuple[Session, int]:
        session = Session(self._file, self._threads)
        forks.sessions.add(session)
        return session, os.getpid()

    def _warn_if_unfit(self) -> None:
        """Warn if the self-test fails here, or if pictures are read otherwise than the model was made for."""
        self._check_self_test()
        made_for = self.contract.picture_reader
        if made_for != PICTURE_READER_VERSION:
            log.warning(
                "%s: made for version %d of the picture reader, this is version %d; answers for pictures may differ, "
                "export it again",
                self._file.source,
                made_for,
                PICTURE_READER_VERSION,
            )

    def _check_self_test(self) -> None:
        # It takes as long as four pictures. On a CPU that computes otherwise, nobody should have to find that out from
        # the answers.
        result = self.self_test()
        if not result.ok:
            log.warning(
                "%s: on this CPU its self-test fails: logits differ by %.2g from where it was made (at most %.2g), by "
                "%.2g from the network that it was made of (at most %.2g), probabilities by %.2g from the softmax of "
                "the logits (at most %.2g); answers may be worse than stated%s",
                self._file.source,
                result.from_file,
                result.file_tolerance,
                result.from_reference,
                result.reference_tolerance,
                result.from_softmax,
                result.softmax_tolerance,
                ", the fp32 form is safe" if self.contract.format == "onnx-int8" else "",
            )

    def self_test(self) -> Replay:
        """Replay the self-test that the file carries, on this machine.

        Raises:
            ModelError: onnxruntime cannot run it.
        """
        return self._run(lambda current, contract: replay(contract, current.run), self.contract)

    @property
    def contract(self) -> Contract:
        """What the file says of itself: name, labels, picture size, temperature, provenance (``raw``)."""
        return self._file.contract

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the model's order."""
        return self._file.contract.labels

    def predict(self, image: PictureSource, *, read_as: ReadAs = "auto") -> Prediction:
        """Classify one picture: a path, a file's bytes, a binary file, a PIL image or a uint8 array.

        ``read_as``: ``"photo"`` cuts the article out of its ground, ``"fmnist"`` takes the picture as it is, and
        ``"auto"`` does that with pictures in Fashion-MNIST's form alone.

        Raises:
            ImageError: the picture cannot be read.
            ModelError: onnxruntime fails, or what it answers are no probabilities.
        """
        contract = self._file.contract
        if is_ready(image, contract.height, contract.width, read_as):  # a Reading would cost as much as that question
            return self._prediction(self._run(Session.row, image), "fmnist")
        return self._answer(read_picture(image, contract.height, contract.width, read_as))

    def explain(self, image: PictureSource, *, read_as: ReadAs = "auto") -> tuple[Prediction, Image.Image]:
        """Classify one picture, and draw what was cut out, what the network saw and what it took that for.

        Raises:
            ImageError: the picture cannot be read.
            ModelError: as :meth:`predict`.
        """
        from fmnist_edge_runtime.sight import draw_sight  # fonts are not for every start

        check_way(read_as)
        opened = open_picture(image)
        reading = read_image(opened, self._file.contract.height, self._file.contract.width, read_as)
        answer = self._answer(reading)
        return answer, draw_sight(opened, reading, answer)

    @overload
    def predict_many(
        self,
        images: Iterable[PictureSource],
        *,
        read_as: ReadAs = "auto",
        errors: Literal["raise"] = "raise",
        workers: int | None = None,
    ) -> Iterator[Prediction]: ...
    @overload
    def predict_many(
        self,
        images: Iterable[PictureSource],
        *,
        read_as: ReadAs = "auto",
        errors: Literal["return"],
        workers: int | None = None,
    ) -> Iterator[Prediction | ImageError]: ...

    def predict_many(
        self,
        images: Iterable[PictureSource],
        *,
        read_as: ReadAs = "auto",
        errors: Literal["raise", "return"] = "raise",
        workers: int | None = None,
    ) -> Iterator[Prediction] | Iterator[Prediction | ImageError]:
        """Classify pictures as they come, in order, in constant memory, on as many threads as there are cores allowed.

        ``workers`` is another number of such threads, each of which is given up to 16 pictures at once, fewer of
        large ones: the first answer comes when 16 for each thread and 16 more were taken (with one thread, 16), or the
        iterable has ended.
        With ``errors="return"`` a picture that cannot be read gives its ImageError in place of a prediction, and the
        others are still answered. Arrays, files and PIL images are taken as they are when the iterable gives them, in
        the caller's thread, which also decodes PIL images: it may fill the same one again, or close it. Paths are read
        later.

        Raises:
            ImageError: a picture cannot be read, unless ``errors="return"``.
            ModelError: as :meth:`predict`.
        """
        if is_one_picture(images):
            raise TypeError("predict_many takes an iterable of pictures; for a single one there is predict")
        check_way(read_as)
        if errors not in ("raise", "return"):
            raise ValueError(f"errors={errors!r}: 'raise' or 'return'")
        count = allowed_cores() if workers is None else _thread_count("workers", workers)
        return self._stream(images, read_as, errors, count)

    def probabilities(self, images: Images) -> Floats:
        """Return float32 ``[N, K]`` for uint8 ``[N, height, width]`` in Fashion-MNIST polarity; N may be 0.

        Raises:
            ImageError: another type or shape.
        """
        self._check(images)
        if 0 < len(images) <= _CHUNK:
            return self._run(Session.probabilities, images)
        return self.scores(images)[1]

    def scores(self, images: Images) -> tuple[Floats, Floats]:
        """Return logits and probabilities, float32 ``[N, K]`` each; else as :meth:`probabilities`."""
        self._check(images)
        return self._run(Session.run if 0 < len(images) <= _CHUNK else self._in_chunks, images)

    def _in_chunks(self, current: Session, images: Images) -> tuple[Floats, Floats]:
        logits = np.empty((len(images), len(self.labels)), np.float32)
        probabilities = np.empty_like(logits)
        for start in range(0, len(images), _CHUNK):
            part = slice(start, start + _CHUNK)
            logits[part], probabilities[part] = current.run(images[part])
        return logits, probabilities

    def close(self) -> None:
        """Free the session; a closed classifier answers no more. Closing twice is harmless."""
        with forks.changing:
            self._live = (None, self._live[1])

    def __enter__(self) -> Self:
        """Return the classifier itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the model's bytes and the options; a session cannot travel."""
        return {"_file": self._file, "_threads": self._threads, "closed": self._live[0] is None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the model again."""
        self._file, self._threads = state["_file"], state["_threads"]
        if state["closed"]:
            self._live = (None, os.getpid())
        else:
            self._load()

    def __repr__(self) -> str:
        """Name the model and its source."""
        contract = self._file.contract
        name = printable(f"{contract.name} {contract.format}")
        return f"<Classifier {name}, {len(contract.labels)} labels, from {printable(self._file.source)}>"

    def _run(self, work: Callable[[Session, Given], Answer], given: Given) -> Answer:
        """Return what ``work`` gives for the session and ``given``; ModelError for what onnxruntime raises."""
        current, process = self._live
        if current is None or process != os.getpid():
            current = self._session_made_here()
        try:
            return work(current, given)
        except Exception as error:  # a graph that loads may still fail, or answer in another shape than it declares
            if not is_of_the_engine(error):
                raise
            raise cannot_run(self._file.source, error) from error

    def _session_made_here(self) -> Session:
        """Return the session, a new one if another process made it."""
        if self._live[0] is not None:
            with forks.changing:
                before = self._live
                if before[0] is not None and before[1] != os.getpid():
                    made_here = self._open_session()
                    if self._live is before:  # else a signal handler has closed it meanwhile, or was first
                        self._live = made_here
                        self._warn_if_unfit()
        current = self._live[0]
        if current is None:
            raise ModelError(f"{self._file.source}: this classifier is closed; make a new one")
        return current

    def _check(self, images: Images) -> None:
        contract = self._file.contract
        wanted = (contract.height, contract.width)
        if not isinstance(images, np.ndarray) or images.dtype != _UINT8 or images.shape[1:] != wanted:
            array = isinstance(images, np.ndarray)
            given = f"an array of {images.dtype} {list(images.shape)}" if array else f"a {type(images).__name__}"
            raise ImageError(f"{given}: an array of uint8 [N, {wanted[0]}, {wanted[1]}] is needed")

    def _answer(self, reading: Reading) -> Prediction:
        if len(reading.views) == 1:  # no mean to take, which would cost as much as making the answer
            return self._prediction(self._run(Session.row, reading.pixels), reading.read_as, reading.found)
        return self._prediction(self._rows([reading.views])[0], reading.read_as, reading.found)

    def _rows(self, views: list[Images]) -> list[list[float]]:
        """Return the mean probabilities over the views ``[V, H, W]`` of each picture."""
        if not views:
            return []
        means = self.probabilities(np.concatenate(views))
        if len(means) != len(views):  # where each has one view, reckoning takes a tenth of what decoding does
            counts = np.array([[len(of_one)] for of_one in views], np.float32)
            starts = np.cumsum([0, *map(len, views[:-1])])
            with np.errstate(all="ignore"):  # whatever the application has set: tiny probabilities may come to 0
                means = np.divide(np.add.reduceat(means, starts), counts)
        rows: list[list[float]] = means.tolist()
        return rows

    def _prediction(self, row: list[float], read_as: str, found: bool = True) -> Prediction:
        contract = self._file.contract
        if not (min(row) >= 0 and 0.999 < sum(row) < 1.001):  # a NaN, wherever it is, makes the sum NaN
            raise ModelError(f"{self._file.source}: answers with what are no probabilities; export it again")
        if read_as == "photo":
            from fmnist_edge_runtime.photo import weighed  # not for every start

            row = weighed(row, contract.labels)
        best = max(row)
        index = row.index(best)
        known = found and contract.is_known(best)
        return Prediction(contract.labels[index], index, best, known, tuple(row), contract.labels, read_as)

    def _stream(self, images: Iterable[PictureSource], read_as: ReadAs, errors: str, workers: int) -> Iterator[Any]:
        answer = functools.partial(self._answer_batch, read_as=read_as)
        for answers in map_ahead(answer, batches(images), workers):
            for item in answers:
                if isinstance(item, ImageError) and errors == "raise":
                    raise item
                yield item

    def _answer_batch(self, images: list[PictureSource | ImageError], read_as: ReadAs) -> list[Prediction | ImageError]:
        height, width = self._file.contract.height, self._file.contract.width
        readings: list[Reading | ImageError] = []
        for image in images:
            try:
                readings.append(image if isinstance(image, ImageError) else read_picture(image, height, width, read_as))
            except ImageError as error:
                readings.append(without_history(error))
        rows = iter(self._rows([reading.views for reading in readings if isinstance(reading, Reading)]))
        return [
            reading if isinstance(reading, ImageError) else self._prediction(next(rows), reading.read_as, reading.found)
            for reading in readings
        ]


def _thread_count(name: str, given: object) -> int:
    """Return a whole number of threads, numpy's too, which onnxruntime does not take; ValueError if it is none."""
    try:
        count = operator.index(given)  # type: ignore[arg-type]  # what is no number raises
    except TypeError:
        count = 0
    if not 1 <= count <= MOST_THREADS:
        raise ValueError(f"{name}={given!r}: a whole number from 1 to {MOST_THREADS:,} is needed")
    return count
