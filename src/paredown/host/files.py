"""Files that are there as a whole, or as they were before."""

import os
from collections.abc import Callable
from pathlib import Path


def write_atomically(file: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a hidden file beside `file`, and rename it once it is on the disk."""
    partial = file.with_name(f".{os.getpid()}-{file.name}")
    write(partial)
    flush(partial)  # else a machine that loses power may keep the name alone
    partial.replace(file)


def flush(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
