"""Large pictures made small strip by strip: a copy of all of one could take more memory than decoding it did."""

import math
from collections.abc import Iterator

import numpy as np
from PIL import Image

from fmnist_edge_runtime.errors import ImageError
from fmnist_edge_runtime.fmnist_form import to_grey

_STRIP_PIXELS = 2**20


def shrunk(image: Image.Image, most_pixels: int) -> Image.Image:
    """Return a picture of more than ``most_pixels`` as L, RGB or RGBA, shrunk by a whole factor, averaging areas."""
    factor = math.ceil(math.sqrt(image.width * image.height / most_pixels))
    if image.mode.startswith("I"):  # 16 bits: their transparent grey is no colour of RGBA
        mode = "L"
    else:
        mode = "RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "L") else "RGB"
    small = Image.new(mode, (math.ceil(image.width / factor), math.ceil(image.height / factor)))
    for top, strip in _strips(image, factor):
        part = to_grey(strip) if mode == "L" else strip.convert(mode)
        small.paste(part.reduce(factor), (0, top // factor))
    return small


def floats_to_grey(image: Image.Image) -> Image.Image:
    """Return mode F as L: 0 to 1 where no pixel exceeds 1, else 0 to 255.

    Raises:
        ImageError: pixels below 0, above 255, or no numbers.
    """
    bounds = [(values.min(), values.max()) for _, strip in _strips(image) for values in [np.asarray(strip)]]
    low, high = float(np.min(bounds)), float(np.max(bounds))  # NaN where one is
    if not (low >= 0 and high <= 255):  # false for NaN too
        raise ImageError(f"float pixels from {low:g} to {high:g}; scale them to 0 to 1 or to 0 to 255")
    grey = Image.new("L", image.size)
    for top, strip in _strips(image):
        values = np.asarray(strip) * np.float32(255 if high <= 1 else 1)
        grey.paste(Image.fromarray(values.round().astype(np.uint8)), (0, top))
    return grey


def _strips(image: Image.Image, factor: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """Yield the first row of each strip, a multiple of ``factor``, and the strip."""
    rows = factor * max(1, _STRIP_PIXELS // (image.width * factor))
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))
