"""One class to embed: a checked model file behind a handful of verbs."""

import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, overload

import numpy as np
from PIL import Image

from fmnist_edge_runtime import modelfile, session
from fmnist_edge_runtime.bundled import bundled_model
from fmnist_edge_runtime.contract import PICTURE_READER_VERSION, Contract
from fmnist_edge_runtime.cores import allowed_cores
from fmnist_edge_runtime.errors import ImageError, ModelError
from fmnist_edge_runtime.picture import PictureSource, open_picture
from fmnist_edge_runtime.prediction import Prediction
from fmnist_edge_runtime.reader import ReadAs, Reading, read_image, read_picture
from fmnist_edge_runtime.selftest import Replay, replay
from fmnist_edge_runtime.session import Floats, Images

log = logging.getLogger(__name__)

_CHUNK = 256  # images in one call of onnxruntime: past this, more memory buys no speed
_BATCH = 32  # pictures that predict_many answers at once
# Sessions of a parent process that were seen in a child after fork. Destroying one would wait for threads that exist
# only in the parent, so they are kept.
_inherited: list[Any] = []


class Classifier:
    """Classifies pictures with one exported ONNX file, on the CPU.

    Safe to share among threads; works in a child after fork; pickles (with the model inside); closes.

        with Classifier() as classifier:
            print(classifier.predict("boot.png").label)
    """

    def __init__(self, model: "str | os.PathLike[str] | bytes | None" = None, *, threads: int = 1) -> None:
        """Check ``model`` (a path or a file's bytes; by default the bundled int8 model) and load it.

        ``threads`` is the number of threads inside one inference.

        Raises:
            ModelError: missing, damaged, not one of ours, or onnxruntime cannot run it.
        """
        if threads < 1:
            raise ValueError(f"threads={threads}: at least 1 is needed")
        self._threads = threads
        self._file = modelfile.read(model if isinstance(model, bytes) else Path(model or bundled_model()))
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._session = session.create(self._file, self._threads)
        self._process = os.getpid()
        self._report_self_test()
        made_for = self.contract.picture_reader
        if made_for != PICTURE_READER_VERSION:
            log.warning(
                "%s: made for version %d of the picture reader, this is version %d; answers for pictures may differ, "
                "export it again",
                self._file.source,
                made_for,
                PICTURE_READER_VERSION,
            )

    def _report_self_test(self) -> None:
        # Under a millisecond. Without VNNI an int8 model answers otherwise than it was proven to: nobody should have to
        # find that out from the answers.
        result = self.self_test()
        if not result.ok:
            log.warning(
                "%s: on this CPU its self-test fails: logits differ by %.2g from where it was made (at most %.2g); "
                "answers may be worse than stated, the fp32 form is safe",
                self._file.source,
                result.from_file,
                result.file_tolerance,
            )

    def self_test(self) -> Replay:
        """Replay the self-test that the file carries, on this machine."""
        return replay(self.contract, lambda images: session.run(self._current_session(), images))

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
        """
        return self._predictions([self._picture(image, read_as)])[0]

    def explain(self, image: PictureSource, *, read_as: ReadAs = "auto") -> tuple[Prediction, Image.Image]:
        """Classify one picture, and draw what was cut out, what the network saw and what it took that for.

        Raises:
            ImageError: the picture cannot be read.
        """
        from fmnist_edge_runtime.sight import draw_sight  # fonts are not for every start

        opened = open_picture(image)
        reading = read_image(opened, self._file.contract.height, self._file.contract.width, read_as)
        answer = self._predictions([reading])[0]
        return answer, draw_sight(opened, reading, answer)

    @overload
    def predict_many(
        self, images: Iterable[PictureSource], *, read_as: ReadAs = "auto", errors: Literal["raise"] = "raise"
    ) -> Iterator[Prediction]: ...
    @overload
    def predict_many(
        self, images: Iterable[PictureSource], *, read_as: ReadAs = "auto", errors: Literal["return"]
    ) -> Iterator[Prediction | ImageError]: ...

    def predict_many(
        self,
        images: Iterable[PictureSource],
        *,
        read_as: ReadAs = "auto",
        errors: Literal["raise", "return"] = "raise",
    ) -> Iterator[Prediction] | Iterator[Prediction | ImageError]:
        """Classify pictures as they come, in order, in constant memory; decoding uses every core allowed.

        With ``errors="return"`` a picture that cannot be read gives its ImageError in place of a prediction, and the
        others are still answered.
        """
        if errors not in ("raise", "return"):
            raise ValueError(f"errors={errors!r}: 'raise' or 'return'")
        return self._stream(images, read_as, errors)

    def probabilities(self, images: Images) -> Floats:
        """Return float32 ``[N, K]`` for uint8 ``[N, height, width]`` in Fashion-MNIST polarity; N may be 0.

        Raises:
            ImageError: another type or shape.
        """
        return self.scores(images)[1]

    def scores(self, images: Images) -> tuple[Floats, Floats]:
        """Return logits and probabilities, float32 ``[N, K]`` each; else as :meth:`probabilities`."""
        contract = self._file.contract
        wanted = (contract.height, contract.width)
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != wanted:
            given = f"{images.dtype} {list(images.shape)}" if isinstance(images, np.ndarray) else type(images).__name__
            raise ImageError(f"an array of {given}: uint8 [N, {wanted[0]}, {wanted[1]}] is needed")
        current = self._current_session()
        if 0 < len(images) <= _CHUNK:
            return session.run(current, images)
        logits = np.empty((len(images), len(contract.labels)), np.float32)
        probabilities = np.empty_like(logits)
        for start in range(0, len(images), _CHUNK):
            part = slice(start, start + _CHUNK)
            logits[part], probabilities[part] = session.run(current, images[part])
        return logits, probabilities

    def close(self) -> None:
        """Free the session; a closed classifier answers no more. Closing twice is harmless."""
        with self._lock:
            self._closed = True
            self._session = None

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
        return {"_file": self._file, "_threads": self._threads, "_closed": self._closed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the model again."""
        self.__dict__.update(state)
        closed = self._closed
        self._start()
        if closed:
            self.close()

    def __repr__(self) -> str:
        """Name the model and its source."""
        contract = self._file.contract
        return (
            f"<Classifier {contract.name} {contract.format}, {len(contract.labels)} labels, from {self._file.source}>"
        )

    def _current_session(self) -> Any:
        current = self._session
        if current is None or self._process != os.getpid():
            current = self._revive()
        return current

    def _revive(self) -> Any:
        # The lock of a parent may have been held at the moment of the fork, so a child makes its own.
        if self._process != os.getpid():
            _inherited.append(self._session)
            closed = self._closed
            self._start()
            self._closed = closed
        if self._closed:
            raise ModelError(f"{self._file.source}: this classifier is closed; make a new one")
        return self._session

    def _picture(self, image: PictureSource, read_as: ReadAs) -> Reading:
        return read_picture(image, self._file.contract.height, self._file.contract.width, read_as)

    def _picture_or_error(self, image: PictureSource, read_as: ReadAs) -> Reading | ImageError:
        try:
            return self._picture(image, read_as)
        except ImageError as error:
            return error

    def _predictions(self, readings: list[Reading]) -> list[Prediction]:
        contract, answers = self._file.contract, []
        counts = np.array([len(reading.views) for reading in readings])
        seen = self.probabilities(np.concatenate([reading.views for reading in readings]))
        means = np.add.reduceat(seen, np.cumsum(counts) - counts) / counts[:, None].astype(np.float32)
        for reading, row in zip(readings, means.tolist(), strict=True):
            best = max(row)
            index = row.index(best)
            known = reading.found and contract.is_known(best)
            answers.append(
                Prediction(contract.labels[index], index, best, known, tuple(row), contract.labels, reading.read_as)
            )
        return answers

    def _stream(self, images: Iterable[PictureSource], read_as: ReadAs, errors: str) -> Iterator[Any]:
        for batch in _batches(self._read_ahead(images, read_as), _BATCH):
            readable = [item for item in batch if not isinstance(item, ImageError)]
            answers = iter(self._predictions(readable) if readable else [])
            for item in batch:
                if not isinstance(item, ImageError):
                    yield next(answers)
                elif errors == "return":
                    yield item
                else:
                    raise item

    def _read_ahead(self, images: Iterable[PictureSource], read_as: ReadAs) -> Iterator[Reading | ImageError]:
        workers = allowed_cores()
        waiting: deque[Future[Reading | ImageError]] = deque()
        with ThreadPoolExecutor(workers, thread_name_prefix="fmnist-edge") as pool:
            try:
                for image in images:
                    waiting.append(pool.submit(self._picture_or_error, image, read_as))
                    if len(waiting) > workers + _BATCH:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def _batches(items: Iterator[Reading | ImageError], size: int) -> Iterator[list[Reading | ImageError]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
