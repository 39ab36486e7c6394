"""The version that files carry stands for what the picture reader shows: other views need another version.

After a change that is meant, raise PICTURE_READER_VERSION, export the committed models again, and
``python tests/runtime/test_reader_version.py`` writes what the new version shows beside this file.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fmnist_edge_runtime.contract import PICTURE_READER_VERSION
from fmnist_edge_runtime.reader import read_picture

SHOWN = Path(__file__).with_name(f"reader_{PICTURE_READER_VERSION}.png")
OUTLINE = [
    (150, 60), (330, 60), (460, 250), (400, 290), (335, 190), (340, 430), (140, 430), (145, 190), (80, 290), (20, 250)
]  # fmt: skip
PART = (40, 30, 400, 300)


def pullover():
    """A pullover with a belt, its arms spread, lying askew on boards."""
    rows, columns = np.mgrid[:480, :480]
    boards = 205 + 18 * np.sin(columns / 17) + 6 * np.cos(rows / 9)
    image = Image.fromarray(np.dstack([boards, boards * 0.95, boards * 0.85]).astype(np.uint8))
    cloth = Image.fromarray(np.dstack([rows / 6, columns / 6, rows / 4]).astype(np.uint8))
    ImageDraw.Draw(cloth).rectangle((0, 230, 480, 280), fill=(150, 90, 60))
    outline = Image.new("L", image.size)
    ImageDraw.Draw(outline).polygon(OUTLINE, fill=255)
    image.paste(cloth, mask=outline)
    return image.rotate(7, Image.Resampling.BILINEAR, fillcolor=(205, 195, 174))


def shown():
    """The views of the picture and of a part of it, uint8 ``[V, 28, 28]``."""
    return np.concatenate([read_picture(one, 28, 28).views for one in (pullover(), pullover().crop(PART))])


def test_a_reader_of_this_version_shows_what_it_always_showed():
    before = np.asarray(Image.open(SHOWN)).reshape(-1, 28, 28).astype(int)
    views = shown()
    assert views.shape == before.shape
    assert (abs(views - before) > 2).mean() < 0.01  # other versions of numpy or Pillow may round otherwise


if __name__ == "__main__":
    Image.fromarray(shown().reshape(-1, 28)).save(SHOWN)
