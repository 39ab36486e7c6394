"""One sentence for every missing extra: which packages, and the command that installs them."""

from collections.abc import Iterator
from contextlib import contextmanager

from fmnist_edge_runtime.errors import MissingExtraError


@contextmanager
def needs_export_extra(what: str) -> Iterator[None]:
    """Turn a failed import inside the block into one line that names the command to type."""
    try:
        yield
    except ImportError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # as which a compiled module passes Ctrl-C on
            raise error.__cause__ from None
        missing = error.name or str(error)
        raise MissingExtraError(
            f"{what} needs packages that are not installed ({missing}); type: pip install 'fmnist-edge[export]'"
        ) from error
