"""Which process owns a piece of work, and whether it still runs."""

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
LOCK = "lock"  # of an owner that shows its life by a lock in a folder
OUTSIDE = "pid:[4026531836]"  # processes of no container: PROC_PID_INIT_INO of Linux
DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
POLITE = "PAREDOWN_WAITS_POLITELY"  # that it was not the user who said how to wait
EPOCH = 1e9  # a start above is seconds since 1970, as older versions wrote; else since boot


def owner() -> dict[str, Any]:
    """Name this process: host, machine, pid, and when it started in seconds since boot."""
    return {
        HOST: socket.gethostname(),
        PID: os.getpid(),
        STARTED: started(os.getpid()),
        MACHINE: machine_id(),
    }


@cache
def machine_id() -> str:
    """Tell this boot of a kernel and this container's processes from others of the same host name.

    Empty where the system has no /proc: there the host's name has to do.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        processes = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
    file = Path("/etc/machine-id")
    installed = file.read_text().strip() if os.access(file, os.R_OK) else ""
    return f"{boot} {processes} {installed}"


def started(pid: int) -> float:
    """Return when a process started: seconds since boot, which no step of the clock changes.

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
    """Tell whether an owner is known to be gone; of other machines and containers nothing is.

    Args:
        who: As `owner` names it.
        folder: Holds the lock of an owner that took one by `living`; None: it took none.
    """
    if who[HOST] != socket.gethostname():
        return False
    here, there = machine_id(), who.get(MACHINE) or machine_id()  # older versions named none
    if here == there:
        return not alive(who[PID], who[STARTED])
    (boot, *rest), (its_boot, *its_rest) = here.split(" "), there.split(" ")
    if boot == its_boot:  # in another container of this kernel
        return folder is not None and LOCK in who and is_free(folder / who[LOCK])
    return rest == its_rest and OUTSIDE in rest  # this machine was started anew since


def alive(pid: int, start: float) -> bool:
    """Tell whether a process still runs; a pid that was given away again does not count."""
    import psutil

    try:
        process = psutil.Process(pid)
        now = process.create_time() if start > EPOCH else started(pid)
        return bool(abs(now - start) < 1) and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def living(folder: Path, prefix: str) -> "FileLock":
    """Take a lock of this process's own in a folder; the kernel frees it when the process dies."""
    from filelock import FileLock

    lock = FileLock(folder / f"{prefix}{secrets.token_hex(8)}.lock")
    lock.acquire()
    return lock


def is_free(file: Path) -> bool:
    """Tell whether nobody holds a lock that is there; one that may not be opened is held."""
    from filelock import FileLock, Timeout

    if not file.exists():
        return False
    try:
        with FileLock(file).acquire(timeout=0):
            return True
    except (Timeout, OSError):
        return False


def user_name() -> str:
    """Name the user; in a container there may be no entry for the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid{_user_id()}"


@contextmanager
def outliving(refuse: type[Exception], told: str) -> Iterator[None]:
    """Refuse code that ends the process instead of giving what it was called for.

    Args:
        refuse: The exception to raise.
        told: What it says; how the code ended the process follows.

    Raises:
        Exception: As `refuse` names it, where the code calls sys.exit or os._exit.
    """
    leave, own = os._exit, os.getpid()

    def stay(code: int) -> None:
        if os.getpid() != own:  # a child that was forked has to end like this
            leave(code)
        raise SystemExit(f"os._exit({code})")

    os._exit = stay  # type: ignore[assignment]
    try:
        yield
    except SystemExit as error:
        if isinstance(error.code, int) and error.code > 128:  # a signal of ours
            raise
        how = error.code if isinstance(error.code, str) else f"sys.exit({error.code})"
        raise refuse(f"{told} {how}") from error
    finally:
        os._exit = leave


def wait_politely() -> None:
    """Let threads of one computation spin shortly, then sleep, while they wait for each other.

    A thread that spins keeps its core from the one that it waits for, where other processes are
    busy too; one that sleeps at once costs time on a quiet host: benchmarks/busy.py. Only waiting
    changes, and no bit of a result. Without effect once torch is imported, where the user has said
    how to wait, and beside another OpenMP than GNU's.
    """
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")):
        os.environ["GOMP_SPINCOUNT"] = "1000"
        os.environ[POLITE] = "1"


def impatient() -> dict[str, str]:
    """Return the environment without `wait_politely`, for what is timed: it waits as users do."""
    own = dict(os.environ)
    if own.pop(POLITE, None):
        del own["GOMP_SPINCOUNT"]
    return own


def die_with_parent() -> None:
    """Let this process be killed when the one that started it dies, however that happens."""
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
    """Return a folder of this user's on this host that nobody else can write into; None: none."""
    for folder in (Path(tempfile.gettempdir()) / f"paredown-{_user_id()}", _cache() / "host"):
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.lstat()
            shared = status.st_mode & 0o022 if os.name == "posix" else 0
            if stat.S_ISDIR(status.st_mode) and status.st_uid == _user_id() and not shared:
                return folder
    return None


def _cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("paredown")


def _user_id() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
