"""Files that are there as a whole, or as they were before."""

import os
from collections.abc import Callable
from pathlib import Path


def write_atomically(file: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a hidden file beside `file`, and rename it once it is on the disk."""
    partial = file.with_name(f".{os.getpid()}-{file.name}")
    write(partial)
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # else a machine that loses power may keep the name alone
    finally:
        os.close(descriptor)
    partial.replace(file)
