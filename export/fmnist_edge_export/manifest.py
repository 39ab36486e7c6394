"""``manifest.json``: what is in a model's folder, and what was measured of it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fmnist_edge_export.files import sha256_of, write_atomically
from fmnist_edge_export.proof.report import Check
from fmnist_edge_runtime.errors import ModelError

NAME = "manifest.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """``files`` maps a name to its sha256 and size; ``formats`` a form to its file, measurement and checks."""

    name: str
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    formats: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def entry(file: str, checks: tuple[Check, ...], measured: dict[str, Any]) -> dict[str, Any]:
    """Return what the manifest says of one form."""
    return {"file": file, "checks": [asdict(check) for check in checks], "measured": measured}


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of the files in ``folder``."""
    files = {
        path.name: {"sha256": sha256_of(path), "size": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name != NAME
    }
    content = {"schema_version": SCHEMA_VERSION, **asdict(manifest), "files": files}
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(folder / NAME, text.encode("ascii"))


def read(folder: Path) -> Manifest:
    """Read a folder's manifest.

    Raises:
        ModelError: there is none, or it is not one.
    """
    path = folder / NAME
    if not path.is_file():  # a pipe of that name would keep us waiting
        words = "not a file" if path.exists() else "no such file"
        raise ModelError(f"{path}: cannot be read ({words}); export the model to have one")
    try:
        content = json.loads(path.read_bytes())
        if content.pop("schema_version") != SCHEMA_VERSION:
            raise ValueError("another schema_version")
        if any(Path(name).name != name for name in content["files"]):
            raise ValueError("files elsewhere")
        if not all(isinstance(entry, dict) for table in ("files", "formats") for entry in content[table].values()):
            raise ValueError("entries that are none")
        return Manifest(**{**content, "notes": tuple(content["notes"])})
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); export the model to have one") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: not a manifest ({error}); export the model again") from error
