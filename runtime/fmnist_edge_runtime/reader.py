"""From any picture to the uint8 array that the network takes: the one way there is."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from fmnist_edge_runtime.fmnist_form import fit, is_fmnist_form, to_grey
from fmnist_edge_runtime.photo import view_of_photo
from fmnist_edge_runtime.picture import PictureSource, open_picture

ReadAs: TypeAlias = Literal["auto", "photo", "fmnist"]
WAYS: tuple[str, ...] = get_args(ReadAs)


@dataclass(frozen=True)
class Reading:
    """What the network is shown: ``pixels`` uint8 ``[height, width]``; how it was read; whether anything was found."""

    pixels: npt.NDArray[np.uint8]
    read_as: str
    found: bool


def read_picture(source: PictureSource, height: int, width: int, read_as: ReadAs = "auto") -> Reading:
    """Read ``source``: a path, a file's bytes, a binary file, a PIL image, or a uint8 array (grey, RGB or RGBA).

    ``"fmnist"`` keeps the picture as it is, made grey and fitted into the frame; ``"photo"`` cuts the article out of
    its ground; ``"auto"`` takes the first for pictures in Fashion-MNIST's form and the second for all others.

    Raises:
        ImageError: it cannot be read; the message names it.
    """
    if read_as not in WAYS:
        raise ValueError(f"read_as={read_as!r}: one of {', '.join(WAYS)}")
    image = open_picture(source)
    if read_as == "fmnist" or (read_as == "auto" and is_fmnist_form(image, height, width)):
        return Reading(fit(to_grey(image), height, width), "fmnist", found=True)
    view = view_of_photo(image, height, width)
    blank = np.zeros((height, width), np.uint8)
    return Reading(blank if view is None else view, "photo", found=view is not None)
