"""Any picture, as people have them, to the uint8 array that the network takes. In one way, everywhere.

1. Decode: the formats below and no others, at most ``MOST_PIXELS`` pixels, the first frame of several.
2. Turn: as the orientation tag says.
3. Transparency: laid over black, the background of the training set.
4. Grey: luma of ITU-R 601-2. 16-bit greys are divided by 257; floats count as 0 to 1 if none exceeds 1, else as 0 to
   255.
5. Size: the longest side fills the frame, shrunk by area averaging or enlarged bilinearly; the rest is black, and an
   odd row or column of it goes to the top or left. A picture of the right size keeps every pixel.
"""

import io
import os
from pathlib import Path
from typing import BinaryIO, TypeAlias, Union

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from fmnist_edge_runtime.errors import ImageError

PictureSource: TypeAlias = Union[str, "os.PathLike[str]", bytes, BinaryIO, Image.Image, npt.NDArray[np.uint8]]

MOST_PIXELS = 50_000_000
MOST_FILE_BYTES = 256 * 2**20
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".avif"}
)
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
_SUPPORTED = "PNG, JPEG, WebP, BMP, GIF, TIFF, PPM and AVIF are read"


def read_picture(source: PictureSource, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return ``source`` as uint8 ``[height, width]``.

    ``source`` is a path, a file's bytes, a binary file, a PIL image, or a uint8 array ``[H, W]``, ``[H, W, 3]``
    (RGB) or ``[H, W, 4]`` (RGBA).

    Raises:
        ImageError: it cannot be read; the message names it.
    """
    if isinstance(source, np.ndarray):
        return _fit(_from_array(source), height, width)
    if isinstance(source, Image.Image):
        return _fit(_checked(source, "a PIL image"), height, width)
    if isinstance(source, bytes | bytearray | memoryview):
        return _fit(_decode(io.BytesIO(source), "the picture given as bytes"), height, width)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            with path.open("rb") as file:
                return _fit(_decode(file, str(path)), height, width)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise ImageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if hasattr(source, "read"):
        return _fit(_decode(source, "the picture given as a file"), height, width)
    raise ImageError(
        f"a {type(source).__name__} is no picture; give a path, bytes, a binary file, a PIL image or an array"
    )


def _decode(file: BinaryIO, name: str) -> Image.Image:
    content = file.read(MOST_FILE_BYTES + 1)
    if not isinstance(content, bytes):
        raise ImageError(f"{name}: opened as text; open it in binary mode")
    if not content:
        raise ImageError(f"{name}: not an image, the file is empty")
    if len(content) > MOST_FILE_BYTES:
        raise ImageError(f"{name}: larger than {MOST_FILE_BYTES // 2**20} MiB; make it smaller")
    try:
        return _checked(Image.open(io.BytesIO(content), formats=_available_formats()), name)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not an image, or none that can be read; {_SUPPORTED}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: more than {MOST_PIXELS:,} pixels; make it smaller") from error
    except Exception as error:  # on damaged files Pillow's decoders raise almost anything
        raise ImageError(f"{name}: a damaged or truncated image ({_first_line(error)})") from error


def _available_formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _checked(image: Image.Image, name: str) -> Image.Image:
    """Check the size before anything is decoded, then turn, flatten and grey it."""
    if image.width * image.height > MOST_PIXELS:
        raise ImageError(f"{name}: {image.width} x {image.height} is more than {MOST_PIXELS:,} pixels; make it smaller")
    if image.width == 0 or image.height == 0:
        raise ImageError(f"{name}: has no pixels ({image.width} x {image.height})")
    try:
        return _to_grey(ImageOps.exif_transpose(image))
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # as above: decoding happens here
        raise ImageError(f"{name}: a damaged or truncated image ({_first_line(error)})") from error


def _to_grey(image: Image.Image) -> Image.Image:
    if image.mode == "L" and "transparency" not in image.info:
        return image.copy() if image.readonly else image
    if image.mode == "F":
        return Image.fromarray(_floats_to_bytes(np.asarray(image)))
    if image.mode == "I" or image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image).convert("L")
    return image.convert("RGB").convert("L") if image.mode in ("CMYK", "YCbCr", "HSV", "P") else image.convert("L")


def _floats_to_bytes(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):  # false for NaN too
        raise ImageError(f"float pixels from {low:g} to {high:g}; scale them to 0 to 1 or to 0 to 255")
    return (values * (255 if high <= 1 else 1)).round().astype(np.uint8)


def _from_array(array: npt.NDArray[np.uint8]) -> Image.Image:
    given = f"an array of {array.dtype} {list(array.shape)}"
    if array.dtype != np.uint8:
        raise ImageError(f"{given}: not uint8; scale the pixels to 0 to 255 and use .astype('uint8')")
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ImageError(f"{given}: not [H, W], [H, W, 3] or [H, W, 4]; for many pictures use probabilities()")
    if array.size == 0:
        raise ImageError(f"{given}: has no pixels")
    return _checked(Image.fromarray(np.ascontiguousarray(array)), given)


def _fit(grey: Image.Image, height: int, width: int) -> npt.NDArray[np.uint8]:
    if grey.size != (width, height):
        scale = min(width / grey.width, height / grey.height)
        inner = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
        method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
        frame = Image.new("L", (width, height))
        frame.paste(grey.resize(inner, method), ((width - inner[0] + 1) // 2, (height - inner[1] + 1) // 2))
        grey = frame
    return np.array(grey, dtype=np.uint8)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
