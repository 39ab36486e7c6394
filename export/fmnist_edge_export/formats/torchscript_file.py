"""The TorchScript archive as a file: sealed with its contract and read again, without torch.

A torch archive is an uncompressed zip; what ``torch.jit.load`` calls extra files are members of it.
"""

import hashlib
import io
import re
import struct
import zipfile
import zlib
from typing import Any

from fmnist_edge_runtime import contract
from fmnist_edge_runtime.contract import Contract, ContractError
from fmnist_edge_runtime.errors import ModelError

_ENTRY = f"archive/extra/{contract.KEY}"
_ALIGNMENT = 64  # of torch's own archives, which lets a loader map the tensors
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3  # the same bytes on every system
_MOST_BYTES = 512 * 2**20
# Libraries of operators that come with torch and run on a CPU.
_TORCHS_OWN = frozenset({"aten", "prim", "prims", "profiler", "quantized", "_quantized", "sparse"}) | {
    *("mkl", "mkldnn", "mkldnn_prepacked", "onednn", "prepacked")
}


def seal(graph: bytes, metadata: dict[str, Any]) -> bytes:
    """Return the archive ``graph`` with its contract among the extra files."""
    members = _members(graph)
    members[_ENTRY] = contract.encode(metadata, _digest(members))
    return archive_of(members)


def read_contract(content: bytes, source: str) -> Contract:
    """Check a TorchScript file's contract against the file, without torch running any of it.

    Raises:
        ModelError: not an archive of ours, or damaged.
    """
    try:
        members = _members(content)
        # torch reads the archive in its own way, so that what Python's reading passes over must not differ either.
        if archive_of(members) != content:
            raise ValueError("not in the form that the exporter writes")
        entry = members.pop(_ENTRY)
        return contract.decode(entry, _digest(members))
    except KeyError as error:
        raise ModelError(f"{source}: it has no fmnist_edge metadata, so it is not a model of this kit") from error
    except ContractError as error:
        raise ModelError(f"{source}: refused, {error}; export it again") from error
    except (zipfile.BadZipFile, zlib.error, struct.error, OSError, ValueError, RuntimeError, EOFError) as error:
        raise ModelError(f"{source}: not a TorchScript archive ({error}); export it again") from error


def _members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(info.file_size for info in archive.infolist()) > _MOST_BYTES:
            raise ValueError("its members are too large")
        return {info.filename: archive.read(info) for info in archive.infolist()}


def _digest(members: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(members):
        digest.update(f"{name}\0{len(members[name])}\0".encode())
        digest.update(members[name])
    return digest.hexdigest()


def archive_of(members: dict[str, bytes]) -> bytes:
    """Return the members as an archive that torch loads: stored, aligned, in order of their names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = _UNIX
            start = buffer.tell() + 30 + len(name) + 4  # the local header, the name, and the head of an extra field
            padding = -start % _ALIGNMENT
            info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
            archive.writestr(info, members[name])
    return buffer.getvalue()


def problems(content: bytes) -> list[str]:
    """Return what is wrong with an archive's structure; nothing, if all is well."""
    members = _members(content)
    code = b"\n".join(text for name, text in members.items() if name.endswith(".py")).decode()
    without_texts = re.sub(r'"(?:\\.|[^"\\])*"', '""', code)
    foreign = sorted(set(re.findall(r"(?<![\w.])ops\.(\w+\.\w+)", without_texts)))
    return [f"{name}: holds source paths" for name in members if name.endswith(".debug_pkl")] + [
        f"{name}: an operator that torch itself does not have"
        for name in foreign
        if name.split(".")[0] not in _TORCHS_OWN
    ]
