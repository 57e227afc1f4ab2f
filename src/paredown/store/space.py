"""Disks without space: which one is full, in one line."""

import re
import shutil
import tempfile
from pathlib import Path

from paredown.errors import NO_SPACE, RunError

ROOM = 1_000_000  # bytes; a disk with less is called full


def is_full(error: Exception) -> bool:
    """Return whether a write failed for want of space; safetensors has the number in words only."""
    number = re.search(r"os error (\d+)", str(error))
    code = int(number.group(1)) if number else getattr(error, "errno", None)
    return code in NO_SPACE


def full_disk(error: Exception, place: Path, work: Path, stage: str) -> RunError:
    """Return the error of a stage whose entry, in the folder `work`, did not fit on a disk."""
    if full_elsewhere(error, place.parent):
        return RunError(
            f"{tempfile.gettempdir()}: the disk of temporary files is full while {stage} was made. "
            "Make room there, or set TMPDIR"
        )
    written = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    return RunError(
        f"{place}: the disk is full after {written:,} bytes of {stage}; all earlier entries are "
        "intact. Make room (make store-clean) or set store.folder"
    )


def full_elsewhere(error: Exception, folder: Path) -> bool:
    """Return whether the full disk is that of temporary files, and not that of the folder."""
    temporary = Path(tempfile.gettempdir())
    if temporary.stat().st_dev == folder.stat().st_dev:
        return False
    file = getattr(error, "filename", None)
    if file:
        return temporary in Path(str(file)).absolute().parents
    room, temporary_room = (shutil.disk_usage(disk).free for disk in (folder, temporary))
    return temporary_room < ROOM <= room
