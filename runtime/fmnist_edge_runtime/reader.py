"""From any picture to the uint8 array that the network takes: the one way there is."""

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypeGuard, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from fmnist_edge_runtime.fmnist_form import fit, is_dark, is_fmnist_form, to_grey
from fmnist_edge_runtime.picture import PictureSource, open_picture

if TYPE_CHECKING:
    from fmnist_edge_runtime.cutout import Mask

ReadAs: TypeAlias = Literal["auto", "photo", "fmnist"]
_UINT8 = np.dtype(np.uint8)
WAYS: tuple[str, ...] = get_args(ReadAs)


class Reading(NamedTuple):
    """What the network is shown: ``views`` uint8 ``[V, height, width]``; how it was read; whether an article was found.

    Of a photograph there are several views, whose probabilities are averaged. ``mask`` is what was cut out of the whole
    picture, shrunk; None if nothing was.
    """

    views: npt.NDArray[np.uint8]
    read_as: str
    found: bool
    mask: "Mask | None" = None

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """The first view, uint8 ``[height, width]``; of a picture in Fashion-MNIST's form the only one."""
        return np.asarray(self.views[0])


def check_way(read_as: str) -> None:
    """Raise ValueError unless there is such a way to read a picture."""
    if read_as not in WAYS:
        raise ValueError(f"read_as={read_as!r}: one of {', '.join(WAYS)}")


def is_ready(source: object, height: int, width: int, read_as: str) -> TypeGuard[npt.NDArray[np.uint8]]:
    """Whether ``source`` is an array of grey levels that is shown to a network of its size as it is.

    What is below ``read_image`` says the same of it, by way of several copies; this is Fashion-MNIST's own case.
    """
    return (
        type(source) is np.ndarray  # and no subclass: those may index in ways of their own
        and source.shape == (height, width)
        and source.dtype == _UINT8
        and (read_as == "fmnist" or (read_as == "auto" and is_dark(source)))
    )


def read_picture(source: PictureSource, height: int, width: int, read_as: ReadAs = "auto") -> Reading:
    """Read ``source``: a path, a file's bytes, a binary file, a PIL image, or a uint8 array (grey, RGB or RGBA).

    ``"fmnist"`` keeps the picture as it is, made grey and fitted into the frame; ``"photo"`` cuts the article out of
    its ground; ``"auto"`` takes the first for pictures in Fashion-MNIST's form and the second for all others.

    Raises:
        ImageError: it cannot be read; the message names it.
    """
    if is_ready(source, height, width, read_as):
        return Reading(source[None], "fmnist", found=True)
    check_way(read_as)
    return read_image(open_picture(source), height, width, read_as)


def read_image(image: Image.Image, height: int, width: int, read_as: ReadAs) -> Reading:
    """Read a picture that was opened by ``open_picture``; else as :func:`read_picture`."""
    if image.mode == "L" and image.size == (width, height):
        cells = np.frombuffer(image.tobytes(), np.uint8).reshape(height, width)  # half the time of np.array
        if is_ready(cells, height, width, read_as):
            return Reading(cells[None], "fmnist", found=True)
    if read_as == "fmnist" or (read_as == "auto" and is_fmnist_form(image, height, width)):
        return Reading(fit(to_grey(image), height, width)[None], "fmnist", found=True)
    from fmnist_edge_runtime.photo import find_article  # not for every start

    with np.errstate(all="ignore"):  # whatever the application has set: tiny weights of colours come to 0
        article = find_article(image, height, width)
    if article is None:
        return Reading(np.zeros((1, height, width), np.uint8), "photo", found=False)
    return Reading(article.views, "photo", found=article.clear, mask=article.mask)
