"""Processes that own a piece of work: their identity, life and end."""

import contextlib
import ctypes
import getpass
import os
import secrets
import signal
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filelock import FileLock

HOST, PID, STARTED, MACHINE = "host", "pid", "started", "machine"
LOCK = "lock"  # of an owner that holds a lock in a folder while it lives
OUTSIDE = "pid:[4026531836]"  # processes of no container: PROC_PID_INIT_INO of Linux
DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
POLITE = "PAREDOWN_WAITS_POLITELY"  # set if GOMP_SPINCOUNT is ours, not the user's
EPOCH = 1e9  # a start above is seconds since 1970, as older versions wrote; else since boot


def owner() -> dict[str, Any]:
    """Return the identity of this process: host, machine, pid, and start in seconds since boot."""
    return {
        HOST: socket.gethostname(),
        PID: os.getpid(),
        STARTED: started(os.getpid()),
        MACHINE: machine_id(),
    }


@cache
def machine_id() -> str:
    """Return the identity of this boot, container and installation; empty without /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        processes = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
    file = Path("/etc/machine-id")
    installed = file.read_text().strip() if os.access(file, os.R_OK) else ""
    return f"{boot} {processes} {installed}"


def started(pid: int) -> float:
    """Return the start of a process in seconds since boot, which no step of the clock changes.

    Raises:
        psutil.NoSuchProcess: If there is none.
    """
    import psutil

    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        ticks = int(text.rpartition(")")[2].split()[19])  # the name before may hold anything
        return round(ticks / os.sysconf("SC_CLK_TCK"), 2)
    except (OSError, IndexError, ValueError):
        return round(float(psutil.Process(pid).create_time()), 2)


def died(who: Mapping[str, Any], folder: Path | None = None) -> bool:
    """Return whether an owner is known to be dead; on other machines this is never known.

    `folder` has the lock that it took by `living`, if it took one.
    """
    if who[HOST] != socket.gethostname():
        return False
    own_id, its_id = machine_id(), who.get(MACHINE) or machine_id()  # older versions wrote none
    if own_id == its_id:
        return not alive(who[PID], who[STARTED])
    (boot, *rest), (its_boot, *its_rest) = own_id.split(" "), its_id.split(" ")
    if boot == its_boot:  # in another container of this kernel
        return folder is not None and LOCK in who and is_free(folder / who[LOCK])
    return rest == its_rest and OUTSIDE in rest  # this machine was rebooted since


def alive(pid: int, start: float) -> bool:
    """Return whether a process still runs; a pid that was reused does not count."""
    import psutil

    try:
        process = psutil.Process(pid)
        current = process.create_time() if start > EPOCH else started(pid)
        return bool(abs(current - start) < 1) and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def living(folder: Path, prefix: str) -> "FileLock":
    """Acquire a lock of this process in a folder; the kernel frees it when the process dies."""
    from filelock import FileLock

    lock = FileLock(folder / f"{prefix}{secrets.token_hex(8)}.lock")
    lock.acquire()
    return lock


def is_free(file: Path) -> bool:
    """Return whether a lock exists and is free; one that may not be opened is not."""
    from filelock import FileLock, Timeout

    if not file.exists():
        return False
    try:
        with FileLock(file).acquire(timeout=0):
            return True
    except (Timeout, OSError):
        return False


def user_name() -> str:
    """Return the user's name, or number: in a container it may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid{_user_id()}"


@contextmanager
def refusing_exit(exception: type[Exception], message: str) -> Iterator[None]:
    """Raise an exception, with a message and the call, where code calls sys.exit or os._exit."""
    original, own = os._exit, os.getpid()

    def refuse(code: int) -> None:
        if os.getpid() != own:  # a forked child has to end like this
            original(code)
        raise SystemExit(f"os._exit({code})")

    os._exit = refuse  # type: ignore[assignment]
    try:
        yield
    except SystemExit as error:
        if isinstance(error.code, int) and error.code > 128:  # a signal of ours
            raise
        call = error.code if isinstance(error.code, str) else f"sys.exit({error.code})"
        raise exception(f"{message} {call}") from error
    finally:
        os._exit = original


def wait_politely() -> None:
    """Configure OpenMP's threads to spin shortly, then sleep, while they wait for each other.

    On a busy host a spinning thread blocks the core of the thread that it waits for; on an idle one
    sleeping at once costs time: benchmarks/busy.py. No bit of a result changes. Without effect once
    torch is imported, where the user has configured it, and with another OpenMP than GNU's.
    """
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")):
        os.environ["GOMP_SPINCOUNT"] = "1000"
        os.environ[POLITE] = "1"


def impatient() -> dict[str, str]:
    """Return the environment without `wait_politely`, for timing: as a user's process has it."""
    environment = dict(os.environ)
    if environment.pop(POLITE, None):
        del environment["GOMP_SPINCOUNT"]
    return environment


def die_with_parent() -> None:
    """Request that this process is killed when its parent dies, however that happens."""
    with contextlib.suppress(OSError, AttributeError):  # no Linux
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, int(signal.SIGKILL))
    if sys.platform == "linux":
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def own_folder() -> Path | None:
    """Return a folder on this host that only this user can write to; None if there is none."""
    from platformdirs import user_cache_path

    temporary = Path(tempfile.gettempdir()) / f"paredown-{_user_id()}"
    for folder in (temporary, user_cache_path("paredown") / "host"):
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.lstat()
            shared = status.st_mode & 0o022 if os.name == "posix" else 0
            if stat.S_ISDIR(status.st_mode) and status.st_uid == _user_id() and not shared:
                return folder
    return None


def _user_id() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
