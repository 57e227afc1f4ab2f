"""What this machine is: a number means nothing without the CPU that it was taken on."""

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Instruction sets that decide which int8 formats are right and fast, as torch names them.
INT8_INSTRUCTIONS = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512_f", "avx2", "i8mm", "dot")
BF16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}


@cache
def cpu_name() -> str:
    """Name the CPU as it names itself; Linux tells without torch, which takes 2 s to import."""
    table = Path("/proc/cpuinfo")
    told = table.read_text() if table.is_file() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    if named is not None:
        return named.group(1).strip()
    import torch

    return str(torch.cpu.get_capabilities()["cpu_name"])


@cache
def instructions() -> frozenset[str]:
    """List the instruction sets of this CPU."""
    import torch

    return frozenset(
        name for name, present in torch.cpu.get_capabilities().items() if present is True
    )


def int8_instructions() -> str:
    """List those instruction sets of this CPU that int8 arithmetic depends on, or 'none'."""
    return " ".join(name for name in INT8_INSTRUCTIONS if name in instructions()) or "none"


def multiplies_bf16() -> bool:
    """Tell whether the CPU multiplies bfloat16 natively."""
    return bool(instructions() & BF16_INSTRUCTIONS)


def versions(*packages: str) -> dict[str, str]:
    """Look up the installed version of each package; 'absent' for one that is not there."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
