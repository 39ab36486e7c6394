"""Any picture, as people have them, decoded within bounds.

The formats below and no others, at most ``MOST_PIXELS`` pixels, the first frame of several, turned as the orientation
tag says. Large JPEGs are decoded at a fraction of their size.
"""

import io
import os
from typing import BinaryIO, TypeAlias, Union

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fmnist_edge_runtime.errors import ImageError

PictureSource: TypeAlias = Union[str, "os.PathLike[str]", bytes, BinaryIO, Image.Image, npt.NDArray[np.uint8]]

MOST_PIXELS = 50_000_000
MOST_FILE_BYTES = 256 * 2**20
_FIRST_BYTES = 64 * 2**10  # asked for first: Python makes room for all that is asked for, and most files are smaller
_DRAFT_SIDE = 224  # pixels; four times what the cut-out works on
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".avif"}
)
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
_SUPPORTED = "PNG, JPEG, WebP, BMP, GIF, TIFF, PPM and AVIF are read"


def open_picture(source: PictureSource) -> Image.Image:
    """Return ``source`` decoded, in whatever mode it has.

    ``source`` is a path, a file's bytes, a binary file, a PIL image, or a uint8 array ``[H, W]``, ``[H, W, 3]``
    (RGB) or ``[H, W, 4]`` (RGBA).

    Raises:
        ImageError: it cannot be read; the message names it.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _checked(source, "a PIL image")
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(io.BytesIO(source), "the picture given as bytes")
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        try:
            with open(name, "rb") as file:  # noqa: PTH123  # a Path, for each of many small pictures, costs time
                return _decode(file, name)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise ImageError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if hasattr(source, "read"):
        return _decode(source, "the picture given as a file")
    raise ImageError(
        f"a {type(source).__name__} is no picture; give a path, bytes, a binary file, a PIL image or an array"
    )


def _decode(file: BinaryIO, name: str) -> Image.Image:
    content = file.read(_FIRST_BYTES)
    if not isinstance(content, bytes):
        raise ImageError(f"{name}: opened as text; open it in binary mode")
    if len(content) == _FIRST_BYTES:
        content += file.read(MOST_FILE_BYTES + 1 - _FIRST_BYTES)
    if not content:
        raise ImageError(f"{name}: not an image, the file is empty")
    if len(content) > MOST_FILE_BYTES:
        raise ImageError(f"{name}: larger than {MOST_FILE_BYTES // 2**20} MiB; make it smaller")
    try:
        image = Image.open(io.BytesIO(content), formats=_available_formats())
        _check_size(image, name)
        image.draft(None, (_DRAFT_SIDE, _DRAFT_SIDE))  # JPEG alone can; never below what is asked for
        return _checked(image, name)
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


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise ImageError(f"{name}: {image.width} x {image.height} is more than {MOST_PIXELS:,} pixels; make it smaller")
    if image.width == 0 or image.height == 0:
        raise ImageError(f"{name}: has no pixels ({image.width} x {image.height})")


def _checked(image: Image.Image, name: str) -> Image.Image:
    """Check the size before anything is decoded, then decode and turn."""
    _check_size(image, name)
    try:
        image.load()
        if image.mode == "F":
            image = Image.fromarray(_floats_to_bytes(np.asarray(image)))
        turned = ExifTags.Base.Orientation in image.getexif()
        return ImageOps.exif_transpose(image) if turned else image  # which would copy all others
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # as above: decoding happens here
        raise ImageError(f"{name}: a damaged or truncated image ({_first_line(error)})") from error


def _from_array(array: npt.NDArray[np.uint8]) -> Image.Image:
    given = f"an array of {array.dtype} {list(array.shape)}"
    if array.dtype != np.uint8:
        raise ImageError(f"{given}: not uint8; scale the pixels to 0 to 255 and use .astype('uint8')")
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ImageError(f"{given}: not [H, W], [H, W, 3] or [H, W, 4]; for many pictures use probabilities()")
    if array.size == 0:
        raise ImageError(f"{given}: has no pixels")
    return _checked(Image.fromarray(np.ascontiguousarray(array)), given)


def _floats_to_bytes(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):  # false for NaN too
        raise ImageError(f"float pixels from {low:g} to {high:g}; scale them to 0 to 1 or to 0 to 255")
    return (values * (255 if high <= 1 else 1)).round().astype(np.uint8)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
