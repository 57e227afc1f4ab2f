"""This machine, named in every result: its CPU, instruction sets and packages."""

import os
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Instruction sets that decide which int8 formats are right and fast, as torch names them.
INT8_INSTRUCTIONS = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512_f", "avx2", "i8mm", "dot")
BF16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}


@cache
def cpu_name() -> str:
    """Return the CPU's name; on Linux without torch, which takes 2 s to import."""
    table = Path("/proc/cpuinfo")
    fields = cpu_table(table.read_text() if table.is_file() else "")
    if "model name" in fields:
        return named(fields)
    import torch

    return str(torch.cpu.get_capabilities()["cpu_name"])


def named(table: Mapping[str, str]) -> str:
    """Return a CPU's own name with vendor, family and model: it may be no more than AMD EPYC."""
    details = [table["vendor_id"]] if "vendor_id" in table else []
    details += [f"{key} {table[key]}" for key in ("cpu family", "model") if key in table]
    return table["model name"] + (f" ({', '.join(details)})" if details else "")


def cpu_table(text: str) -> dict[str, str]:
    """Return the fields of the first core in the text of Linux's /proc/cpuinfo."""
    first = text.partition("\n\n")[0]
    return dict(re.findall(r"^([\w ]+?)\s*:\s*(.+?)\s*$", first, re.MULTILINE))


def cores_here() -> int:
    """Count the cores that this process may use; a container or taskset may restrict it."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return len(allowed) or os.cpu_count() or 1


@cache
def instructions() -> frozenset[str]:
    """List the instruction sets of this CPU."""
    import torch

    return frozenset(
        name for name, present in torch.cpu.get_capabilities().items() if present is True
    )


def has_vnni() -> bool:
    """Return whether an x86 CPU adds products of u8 and s8 in 32 bits; others saturate in 16."""
    return bool(instructions() & {"avx512_vnni", "avx_vnni", "amx_int8"})


def int8_instructions() -> str:
    """List the instruction sets of this CPU that int8 arithmetic depends on, or 'none'."""
    return " ".join(name for name in INT8_INSTRUCTIONS if name in instructions()) or "none"


def multiplies_bf16() -> bool:
    """Return whether the CPU multiplies bfloat16 natively."""
    return bool(instructions() & BF16_INSTRUCTIONS)


def versions(*packages: str) -> dict[str, str]:
    """Return the installed version of each package, or 'absent'."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
