"""Pictures that are in Fashion-MNIST's form already: grey, light on black, of its size or an exact enlargement."""

import numpy as np
import numpy.typing as npt
from PIL import Image

_NEARLY = 4  # grey levels from black, or from white
_SIDES = bytes([0] * _NEARLY + [1] * (256 - 2 * _NEARLY) + [2] * _NEARLY)  # of each level: 0 near black, 2 near white


def is_fmnist_form(image: Image.Image, height: int, width: int) -> bool:
    """Whether ``image`` is ``[height, width]`` pixels each repeated k by k times, grey, and more black than white.

    That more pixels are less than 4 levels from black than from white holds for each of the 60,000 training images and
    for none of their negatives. A rule on the border alone would not do: many bags and coats touch it.
    """
    scale = image.width // width
    if scale < 1 or image.size != (scale * width, scale * height):
        return False
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        return False
    if image.mode not in ("1", "L", "LA"):
        colours = np.asarray(image.convert("RGB"))
        if (colours != colours[..., :1]).any():
            return False
    grey = np.asarray(to_grey(image))
    cells = grey[::scale, ::scale]
    if not np.array_equal(cells.repeat(scale, 0).repeat(scale, 1), grey):
        return False
    return is_dark(cells)


def is_dark(cells: npt.NDArray[np.uint8]) -> bool:
    """Whether more pixels of uint8 ``cells`` are less than 4 levels from black than from white."""
    # Every prediction pays for this. In numpy it takes twice as long where a network has just filled the CPU's caches.
    sides = cells.tobytes().translate(_SIDES)
    return sides.count(0) > sides.count(2)


def to_grey(image: Image.Image) -> Image.Image:
    """Return luma of ITU-R 601-2, mode L; 16-bit greys are divided by 257, transparency is laid over black."""
    if image.mode == "L":
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image).convert("L")
    return (
        image.convert("RGB").convert("L") if image.mode in ("CMYK", "YCbCr", "HSV", "LAB", "P") else image.convert("L")
    )


def fit(grey: Image.Image, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return uint8 ``[height, width]``: the longest side fills the frame, odd padding goes to the top or left.

    Shrunk by area averaging or enlarged bilinearly. A picture of the right size keeps every pixel.
    """
    if grey.size != (width, height):
        scale = min(width / grey.width, height / grey.height)
        inner = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
        method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
        frame = Image.new("L", (width, height))
        frame.paste(grey.resize(inner, method), ((width - inner[0] + 1) // 2, (height - inner[1] + 1) // 2))
        grey = frame
    return np.array(grey, dtype=np.uint8)
