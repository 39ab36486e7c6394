"""What this machine computes with."""

import platform
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# What decides how fast int8 is, and what float32 can use: names as Linux gives them.
_TELLING = (
    "avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "asimd", "asimddp", "i8mm", "sve",
)  # fmt: skip
_FAST_INT8 = {"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"}


@dataclass(frozen=True)
class Cpu:
    """A CPU's name, those of its instruction sets that matter here, and whether it multiplies int8 in one step.

    ``int8`` is None where the system does not tell.
    """

    name: str
    instructions: tuple[str, ...]
    int8: bool | None


def this_cpu() -> Cpu:
    """Describe the CPU; on systems other than Linux only its name is known."""
    if not _CPUINFO.is_file():
        return Cpu(platform.processor() or platform.machine(), (), None)
    return parse(_CPUINFO.read_text(errors="replace"))


def parse(cpuinfo: str) -> Cpu:
    """Read the text of ``/proc/cpuinfo``, of x86 or of Arm."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    offered = set((fields.get("flags") or fields.get("features") or "").split())
    name = fields.get("model name") or platform.machine()
    return Cpu(name, tuple(x for x in _TELLING if x in offered), bool(offered & _FAST_INT8) if offered else None)
