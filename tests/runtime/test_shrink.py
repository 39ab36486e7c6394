"""Large pictures, shrunk as soon as they are decoded, are what they would be otherwise."""

import io

import numpy as np
import pytest
from PIL import Image

from fmnist_edge_runtime import picture, shrink
from fmnist_edge_runtime.fmnist_form import to_grey


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("width", "height"), [(300, 420), (401, 299), (1, 200_000), (200_000, 1)])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F"])
def test_strip_by_strip_a_picture_is_shrunk_as_it_would_be_in_one(mode, width, height, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
    colour = Image.fromarray(pixels if mode in ("LA", "RGBA") else pixels[..., :3])
    image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else colour.convert(mode)
    monkeypatch.setattr(shrink, "_STRIP_PIXELS", 5_000)
    small = shrink.shrunk(shrink.floats_to_grey(image) if mode == "F" else image, width * height // 5)
    grey = Image.fromarray(np.asarray(image).round().astype(np.uint8)) if mode == "F" else to_grey(image)
    whole = {"P": "RGB", "RGB": "RGB", "CMYK": "RGB", "LA": "RGBA", "RGBA": "RGBA"}
    wanted = image.convert(whole[mode]) if mode in whole else grey
    assert small.mode == wanted.mode
    assert np.array_equal(np.asarray(small), np.asarray(wanted.reduce(3)))


def test_what_is_transparent_stays_so_when_a_picture_is_shrunk(monkeypatch):
    image = Image.new("RGBA", (400, 400), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (100, 100, 300, 300))
    monkeypatch.setattr(picture, "MOST_KEPT_PIXELS", 10_000)
    small = picture.open_picture(saved(image.quantize()))
    assert (small.mode, small.size) == ("RGBA", (100, 100))
    assert (small.getpixel((5, 5))[3], small.getpixel((50, 50))[3]) == (0, 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_a_picture_that_is_shrunk_is_turned_all_the_same(kind, monkeypatch):
    image = Image.new("RGB", (200, 400))
    image.paste("white", (0, 0, 200, 100))  # stored upside down: the tag says to turn it by 180 degrees
    exif = Image.Exif()
    exif[0x0112] = 3
    monkeypatch.setattr(picture, "MOST_KEPT_PIXELS", 10_000)
    small = picture.open_picture(saved(image, kind, exif=exif))
    assert small.width * 2 == small.height
    assert small.convert("L").getpixel((small.width // 2, small.height - 3)) == 255
    assert small.convert("L").getpixel((small.width // 2, 3)) == 0
