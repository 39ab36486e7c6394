"""Embedding the runtime: classify the pictures of a folder and draw them with their answers.

python examples/contact_sheet.py examples/pictures docs/predictions.png
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fmnist_edge import Classifier

TILE, CAPTION, COLUMNS = 168, 44, 5


def contact_sheet(folder: Path) -> Image.Image:
    """Return one picture with a tile for each picture in ``folder``."""
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise SystemExit(f"{folder}: no .png files there")
    rows = -(-len(paths) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    with Classifier() as classifier:
        for place, (path, answer) in enumerate(zip(paths, classifier.predict_many(paths), strict=True)):
            left, top = place % COLUMNS * TILE, place // COLUMNS * (TILE + CAPTION)
            picture = Image.open(path).resize((TILE - 8, TILE - 8), Image.Resampling.NEAREST)
            sheet.paste(picture, (left + 4, top + 4))
            caption = f"{answer.label}\n{answer.confidence:.1%}"
            middle = (left + TILE // 2, top + TILE - 2)
            draw.multiline_text(middle, caption, "black", font, anchor="ma", align="center", spacing=2)
    return sheet


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    contact_sheet(arguments.folder).save(arguments.picture)
