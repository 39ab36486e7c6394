"""One sentence for every missing extra: which packages, and the command that installs them."""

from collections.abc import Iterator
from contextlib import contextmanager

from fmnist_edge_runtime.errors import MissingExtraError


def interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    """Return the Ctrl-C that an error came of: in the midst of an import it makes whoever imports fail otherwise."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, KeyboardInterrupt):
        behind = behind.__cause__ or behind.__context__
    return behind


@contextmanager
def needs_export_extra(what: str) -> Iterator[None]:
    """Turn a failed import inside the block into one line that names the command to type."""
    try:
        yield
    except ImportError as error:
        if interrupt := interrupt_behind(error):  # as which a compiled module passes Ctrl-C on
            raise interrupt from None
        if not isinstance(error, ModuleNotFoundError):  # installed, and cannot be loaded
            raise
        missing = error.name or str(error)
        raise MissingExtraError(
            f"{what} needs packages that are not installed ({missing}); type: pip install 'fmnist-edge[export]'"
        ) from error
