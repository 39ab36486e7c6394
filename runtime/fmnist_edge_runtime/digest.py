"""SHA-256 in a small process: ``hashlib`` loads OpenSSL, 4 MB that a first prediction does not need for anything else.

The standard library's own ``random`` goes the same way. A Python built without these modules has hashlib.
"""

import importlib
from typing import Any


def _sha256() -> Any:
    for name in ("_sha2", "_sha256"):  # from Python 3.12 on, and before
        try:
            return importlib.import_module(name).sha256
        except ImportError:
            continue
    return importlib.import_module("hashlib").sha256


sha256 = _sha256()
