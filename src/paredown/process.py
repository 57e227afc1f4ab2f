"""Which process owns a piece of work, and whether it still runs."""

import os
import socket
from collections.abc import Mapping
from typing import Any

HOST, PID, STARTED = "host", "pid", "started"


def owner() -> dict[str, Any]:
    """Name this process: host, pid, and when it started."""
    import psutil

    started = round(psutil.Process().create_time(), 2)
    return {HOST: socket.gethostname(), PID: os.getpid(), STARTED: started}


def died(who: Mapping[str, Any]) -> bool:
    """Tell whether an owner ran on this host and is gone; of other hosts nothing is known."""
    return who[HOST] == socket.gethostname() and not alive(who[PID], who[STARTED])


def alive(pid: int, started: float) -> bool:
    """Tell whether a process still runs; a pid that was given away again does not count."""
    import psutil

    try:
        process = psutil.Process(pid)
        same = bool(abs(process.create_time() - started) < 1)
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
