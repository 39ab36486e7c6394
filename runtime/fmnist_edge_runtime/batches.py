"""Pictures on their way to be answered: gathered into batches, and held as they were given."""

import io
import os
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from fmnist_edge_runtime.errors import ImageError
from fmnist_edge_runtime.picture import PictureSource, held

MOST_AT_ONCE = 16  # pictures that a thread or process reads and answers at once: past this, nothing is gained
_MOST_BYTES = 16 * 2**20  # of files, arrays and PIL images that wait to be answered


def is_one_picture(images: object) -> bool:
    """Tell whether what was given is a single picture, not an iterable of some."""
    if isinstance(images, np.ndarray):
        return images.ndim == 2 or (images.ndim == 3 and images.shape[2] in (3, 4))
    single = isinstance(images, str | bytes | bytearray | memoryview | os.PathLike | Image.Image)
    return single or hasattr(images, "read")


def batches(images: Iterable[PictureSource]) -> Iterator[list[PictureSource | ImageError]]:
    """Yield lists of up to 16 pictures, fewer of large ones, each as it was when the iterator gave it."""
    batch, weight = list[PictureSource | ImageError](), 0
    try:
        for picture in map(_held_or_error, images):
            batch.append(picture)
            weight += _bytes_held(picture)
            if len(batch) == MOST_AT_ONCE or weight > _MOST_BYTES:
                yield batch
                batch, weight = [], 0
    except Exception:  # the iterator's own: what it gave before is answered first
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _bytes_held(picture: PictureSource | ImageError) -> int:
    match picture:
        case bytes():
            return len(picture)
        case io.BytesIO():
            return picture.getbuffer().nbytes
        case np.ndarray():
            return picture.nbytes
        case Image.Image():
            return 4 * picture.width * picture.height
    return 0


def _held_or_error(image: PictureSource) -> PictureSource | ImageError:
    try:
        return held(image)
    except ImageError as error:
        return without_history(error)


def without_history(error: ImageError) -> ImageError:
    """Return the error anew: one that was caught keeps the file's bytes in its traceback, and its causes', alive."""
    return ImageError(str(error))
