"""Any picture, as people have them, decoded within bounds.

The formats below and no others, what ``headers.py`` and ``bounds.py`` allow, the first frame of several, turned as the
orientation tag says. Large JPEGs are decoded at a fraction of their size, other large pictures are shrunk as soon as
they are decoded.
"""

import io
import os
import warnings
from collections.abc import Callable, Coroutine
from typing import BinaryIO, TypeAlias, TypeVar, Union

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from fmnist_edge_runtime.bounds import MOST_PIXELS, too_costly, too_costly_avif
from fmnist_edge_runtime.errors import ImageError, first_line
from fmnist_edge_runtime.fmnist_form import to_grey
from fmnist_edge_runtime.headers import refuse_hostile_exif_of, refuse_hostile_header

PictureSource: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryIO, Image.Image, npt.NDArray[np.uint8]
]

Given = TypeVar("Given")

_FIRST_BYTES = 64 * 2**10  # asked for first: Python makes room for all that is asked for, and most files are smaller
MOST_FILE_BYTES = 64 * 2**20
MOST_KEPT_PIXELS = 4 * 2**20  # of a picture that is handed on: what follows makes several copies
_DRAFT_SIDE = 224  # pixels; four times what the cut-out works on
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".pfm"}
)
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
# How files begin whose decoders Pillow has ready at once (PNG, JPEG, GIF, BMP, PPM); loading all takes 24 ms and 3 MB.
_COMMON = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"P")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Of damage that Pillow only warns of, the answer or the error says enough. Behind every filter that anybody has set, so
# that an application's choice stands; set once, because filters that come and go are not safe among threads.
warnings.filterwarnings("ignore", module=r"PIL\.", append=True)


def open_picture(source: PictureSource) -> Image.Image:
    """Return ``source`` decoded, in whatever mode it has; 16-bit greys as 8 bits.

    ``source`` is a path, a file's bytes, a binary file, a PIL image, or a uint8 array ``[H, W]``, ``[H, W, 3]``
    (RGB) or ``[H, W, 4]`` (RGBA).

    Raises:
        ImageError: it cannot be read; the message names it.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_image(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(_as_bytes(source), "the picture given as bytes")
    if isinstance(source, str | os.PathLike):
        name = "a path"
        try:
            name = os.fspath(source)
            with open(name, "rb", buffering=0) as file:  # noqa: PTH123  # a Path or a buffer costs time
                return _decode(_content(file, name), name)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            words = getattr(error, "strerror", None) or error
            raise ImageError(f"{name or 'an empty path'}: cannot be read ({words})") from error
    if hasattr(source, "read"):
        name = "the picture given as a file"
        return _decode(_content(source, name), name)
    raise ImageError(
        f"a {type(source).__name__} is no picture; give a path, bytes, a binary file, a PIL image or an array"
    )


def held(source: PictureSource) -> PictureSource:
    """Return ``source`` so that it stays what it is: whoever gave it may go on to fill it anew, or close it.

    Raises:
        ImageError: a file or a PIL image cannot be read, or an array is none that can be.
    """
    if isinstance(source, np.ndarray):
        _refuse_array(source)
        return source.copy()
    if isinstance(source, Image.Image):
        image = _from_image(source).copy()
        image.info = {}  # it is turned already
        return image
    if isinstance(source, bytearray | memoryview):
        return _as_bytes(source)
    if isinstance(source, str | os.PathLike | bytes) or not hasattr(source, "read"):
        return source
    return io.BytesIO(_content(source, "the picture given as a file"))


def _as_bytes(source: bytes | bytearray | memoryview) -> bytes:
    name = "the picture given as bytes"
    try:
        if memoryview(source).nbytes > MOST_FILE_BYTES:  # before it is copied
            raise _too_many_bytes(name)
        return bytes(source)
    except ValueError as error:  # a view that was released
        raise ImageError(f"{name}: cannot be read ({error})") from error


def _too_many_bytes(name: str) -> ImageError:
    return ImageError(f"{name}: larger than {MOST_FILE_BYTES // 2**20} MiB; make it smaller")


def _decode(content: bytes, name: str) -> Image.Image:
    if not content:
        raise ImageError(f"{name}: not an image, the file is empty or at its end")
    if len(content) > MOST_FILE_BYTES:
        raise _too_many_bytes(name)
    try:
        _pass_on(refuse_hostile_header, content, name)
        _refuse(name, too_costly_avif(content))
        image = Image.open(io.BytesIO(content), formats=_available_formats(content))
        _refuse_empty(image, name)
        size = image.size
        image.draft(None, (_DRAFT_SIDE, _DRAFT_SIDE))  # JPEG alone can; never below what is asked for
        _refuse(name, too_costly(image, size, content))
        return _decoded(image, name)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not an image, or none that can be read; {_supported()}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # the latter where it is raised
        raise ImageError(f"{name}: more than {MOST_PIXELS:,} pixels; make it smaller") from error
    except Exception as error:  # on damaged files Pillow's decoders raise almost anything
        raise ImageError(f"{name}: a damaged or truncated image ({first_line(error)})") from error


def _content(file: BinaryIO, name: str) -> bytes:
    """Return all bytes, or more than may be read; a pipe may hand them out in pieces of any size."""
    content = io.BytesIO()
    wanted = _FIRST_BYTES
    try:
        while content.tell() <= MOST_FILE_BYTES:  # some give more than they are asked for, or have no end
            piece = file.read(min(wanted, MOST_FILE_BYTES + 1 - content.tell()))
            if not isinstance(piece, bytes | bytearray | memoryview):
                raise ImageError(f"{name}: {_no_bytes(piece)}")
            if not piece:
                break
            if content.write(piece) == wanted:
                wanted = MOST_FILE_BYTES + 1
    except ImageError:
        raise
    except UnicodeDecodeError as error:
        raise ImageError(f"{name}: opened as text; open it in binary mode") from error
    except Exception as error:  # somebody's file may raise what it likes
        raise ImageError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or first_line(error)})") from error
    return content.getvalue()


def _no_bytes(piece: object) -> str:
    """Return what is wrong with a file that gives this when it is read, and what to do."""
    if piece is None:
        return "has nothing to read yet; open it in blocking mode"
    if isinstance(piece, Coroutine):
        piece.close()  # else Python warns that nobody has waited for it
        return "read() is asynchronous; give what it gives when it is awaited"
    return f"read() gives a {type(piece).__name__}, not bytes; open it in binary mode"


def _refuse(name: str, reason: str | None) -> None:
    if reason:
        raise ImageError(f"{name}: {reason}; make it smaller")


def _pass_on(check: Callable[[Given], None], given: Given, name: str = "") -> None:
    """Raise what ``check`` raises as an ImageError that says what to do."""
    try:
        check(given)
    except ValueError as error:
        raise ImageError(f"{name}{': ' if name else ''}{error}; save it anew, as PNG or JPEG") from error


def _available_formats(content: bytes) -> list[str]:
    if content.startswith(_COMMON):
        Image.preinit()
    else:
        Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _supported() -> str:
    """Return which formats are read here: AVIF is where Pillow has it."""
    Image.init()
    *names, last = [name for name in _FORMATS if name in Image.OPEN and name != "MPO"]  # a JPEG of several pictures
    return f"{', '.join(names)} and {last} are read"


def _refuse_empty(image: Image.Image, name: str) -> None:
    if image.width == 0 or image.height == 0:
        raise ImageError(f"{name}: has no pixels ({image.width} x {image.height})")


def _decoded(image: Image.Image, name: str) -> Image.Image:
    """Decode, shrink, make 16 bits grey, and turn."""
    try:
        image.load()
        image = image.convert("LA") if image.mode == "La" else image  # which nothing but this can be made of
        _pass_on(refuse_hostile_exif_of, image)
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
        if image.mode == "F" or image.width * image.height > MOST_KEPT_PIXELS:
            from fmnist_edge_runtime.shrink import floats_to_grey, shrunk  # not for every start

            image = floats_to_grey(image) if image.mode == "F" else image
            image = shrunk(image, MOST_KEPT_PIXELS)
        if image.mode.startswith("I"):  # Pillow converts 16 bits to colours by cutting off what exceeds 255
            image = to_grey(image)
        if "transparency" in image.info:  # of a colour or of palette entries, which may be out of range
            image = image.convert("RGBA")
        return image if turn is None else image.transpose(turn)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # as above: decoding happens here
        raise ImageError(f"{name}: a damaged or truncated image ({first_line(error)})") from error


def _from_image(image: Image.Image) -> Image.Image:
    """Take a PIL image; one that Pillow opened and may not have decoded yet only if this module reads its format."""
    if isinstance(image, ImageFile.ImageFile) and image.format not in _FORMATS:
        raise ImageError(f"a PIL image from a {image.format} file: {_supported()}; give its copy() if you trust it")
    _refuse_empty(image, "a PIL image")
    if image.width * image.height > MOST_PIXELS:
        shape = f"{image.width} x {image.height}"
        raise ImageError(f"a PIL image: {shape} is more than {MOST_PIXELS:,} pixels; make it smaller")
    return _decoded(image, "a PIL image")


def _from_array(array: npt.NDArray[np.uint8]) -> Image.Image:
    _refuse_array(array)
    return _decoded(Image.fromarray(np.ascontiguousarray(array)), "an array")


def _refuse_array(array: npt.NDArray[np.uint8]) -> None:
    given = f"an array of {array.dtype} {list(array.shape)}"
    if array.dtype != np.uint8:
        raise ImageError(f"{given}: not uint8; scale the pixels to 0 to 255 and use .astype('uint8')")
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ImageError(f"{given}: not [H, W], [H, W, 3] or [H, W, 4]; give one picture")
    if array.size == 0:
        raise ImageError(f"{given}: has no pixels")
    if array.shape[0] * array.shape[1] > MOST_PIXELS:
        raise ImageError(f"{given}: more than {MOST_PIXELS:,} pixels; make it smaller")
