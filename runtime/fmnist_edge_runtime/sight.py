"""A picture that shows why an answer is what it is: what was cut out, what the network saw, what it took that for."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fmnist_edge_runtime.errors import printable
from fmnist_edge_runtime.prediction import Prediction
from fmnist_edge_runtime.reader import Reading

_PANEL = 280  # pixels a side
_MARGIN = 16
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 30, 30), (225, 225, 225)
_OUTLINE, _BAR = (255, 0, 200), (40, 110, 200)


def draw_sight(image: Image.Image, reading: Reading, answer: Prediction) -> Image.Image:
    """Return a picture of three panels, 904 x 336 pixels.

    The picture with the outline of what was cut out; the network's view, enlarged; the three best labels with bars.
    """
    sheet = Image.new("RGB", (3 * _PANEL + 4 * _MARGIN, _PANEL + 2 * _MARGIN + 24), _PAPER)
    draw = ImageDraw.Draw(sheet)
    small, large = (ImageFont.load_default(size=size) for size in (14, 20))
    panels = [_outlined(image, reading.mask), _enlarged(reading.pixels)]
    for number, (title, panel) in enumerate(zip((f"read as {reading.read_as}", "seen"), panels, strict=True)):
        left = _MARGIN + number * (_PANEL + _MARGIN)
        draw.text((left, 8), title, fill=_INK, font=small)
        sheet.paste(panel, (left + (_PANEL - panel.width) // 2, 24 + _MARGIN + (_PANEL - panel.height) // 2))
    left = _MARGIN + 2 * (_PANEL + _MARGIN)
    draw.text((left, 8), "answer" if answer.known else "unknown, perhaps", fill=_INK, font=small)
    for number, candidate in enumerate(answer.top(3)):
        top = 24 + _MARGIN + 80 * number
        words = f"{candidate.probability:.1%}  {printable(candidate.label)}"
        draw.text((left, top), _fitting(words, draw, large), fill=_INK, font=large)
        draw.rectangle((left, top + 32, left + _PANEL - 1, top + 52), fill=_FAINT)
        if candidate.probability >= 0.5 / _PANEL:
            draw.rectangle((left, top + 32, left + round(candidate.probability * _PANEL) - 1, top + 52), fill=_BAR)
    return sheet


def _fitting(text: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return as much of a line as the panel has room for."""
    if draw.textlength(text[:_PANEL], font=font) <= _PANEL:
        return text
    text = text[:_PANEL]
    while draw.textlength(f"{text}...", font=font) > _PANEL:
        text = text[:-1]
    return f"{text}..."


def _outlined(image: Image.Image, mask: npt.NDArray[np.bool_] | None) -> Image.Image:
    panel = _scaled(image)
    if mask is None:
        return panel
    inside = np.asarray(Image.fromarray(mask).convert("L").resize(panel.size, Image.Resampling.BILINEAR)) > 127
    padded = np.pad(inside, 2, mode="constant")
    eroded = padded[:-4, 2:-2] & padded[4:, 2:-2] & padded[2:-2, :-4] & padded[2:-2, 4:]
    colours = np.array(panel)
    colours[inside & ~eroded] = _OUTLINE
    return Image.fromarray(colours)


def _scaled(image: Image.Image) -> Image.Image:
    """Return RGB that fits the panel, on grey where the picture is transparent."""
    shown = image.convert("RGBA") if image.has_transparency_data else image.convert("RGB")
    scale = _PANEL / max(shown.size)
    shown = shown.resize((max(1, round(shown.width * scale)), max(1, round(shown.height * scale))))
    ground = Image.new("RGB", shown.size, _FAINT)
    ground.paste(shown, mask=shown if shown.mode == "RGBA" else None)
    return ground


def _enlarged(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(pixels).convert("RGB")
    if max(image.size) > _PANEL:
        return _scaled(image)
    times = _PANEL // max(image.size)
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
