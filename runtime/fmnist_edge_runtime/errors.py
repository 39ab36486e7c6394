"""The errors of pictures, models and data; of a wrong argument Python's own are raised.

    FmnistEdgeError
    ├── ImageError          a picture that cannot be read or is not what was asked for
    ├── ModelError          a model file that is missing, damaged, unknown or not one of ours
    ├── ParityError         an exported file that does not answer as the model it came from
    ├── DataError           a data set file that is missing, damaged or not the published one
    └── MissingExtraError   a command or function whose optional packages are not installed

Each message is one line: what was given, what is wrong with it and, where that is not plain, what to do.
"""


class FmnistEdgeError(Exception):
    """Base of every error raised on purpose."""

    def __init__(self, message: str) -> None:
        """Keep the message on one line, whatever the names in it are made of."""
        super().__init__(printable(message))


class ImageError(FmnistEdgeError):
    """A picture cannot be read, or an array has the wrong shape or type."""


class ModelError(FmnistEdgeError):
    """A model file is missing, damaged, of an unknown schema, or not one of ours."""


class ParityError(FmnistEdgeError):
    """An exported file does not answer as the model it came from; ``report`` holds every check."""

    def __init__(self, message: str, report: object = None) -> None:
        """Keep the report beside the message."""
        super().__init__(message)
        self.report = report


class DataError(FmnistEdgeError):
    """A data set file is missing, damaged, or not the published one."""


class MissingExtraError(FmnistEdgeError, ImportError):
    """Optional packages are not installed; the message names the command that installs them."""


def printable(text: str) -> str:
    """Return ``text`` with everything escaped that a terminal might act upon, line ends too."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


_LONGEST_HEADING = 100


def first_line(error: BaseException) -> str:
    """Return the first line that says something: after a short heading the second; without words, the type."""
    lines = [line for line in map(str.strip, str(error).splitlines()) if line] or [type(error).__name__]
    return lines[1] if len(lines) > 1 and lines[0].endswith(":") and len(lines[0]) < _LONGEST_HEADING else lines[0]
