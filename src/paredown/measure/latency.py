"""Time programs side by side, in fresh processes, so that their ratio can be trusted.

On a shared machine milliseconds drift by 40 % within minutes, and a process's memory layout alone
moves them by some percent. So the programs take turns, round by round, in each of several child
processes, and the speed-up is taken within a round. One job at a time is timed on a host, and how
busy other work kept the host is measured, too. The timers of libraries (timeit,
torch.utils.benchmark) pair no programs, start no processes and hold no lock.
"""

import importlib
import logging
import math
import os
import pickle
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from paredown.dataset import Batch
from paredown.errors import RunError, require, require_one_of
from paredown.host.process import die_with_parent, impatient, own_folder
from paredown.measure.statistics import mean_margin
from paredown.runtime import Program, Runtime

log = logging.getLogger(__name__)

DEFERRED = "deferred"
Lowered = tuple[Runtime, Path]
"""A runtime, and the folder with the files that it lowered."""
MARK = b"\n:paredown:\n"  # between what engines and networks print and the child's reply
Rounds = list[list[list[float]]]
"""[round][program] -> ms of each inference."""


@dataclass(frozen=True)
class Timing:
    """How long to time.

    Args:
        processes: Fresh child processes, one after the other; a single one gives no interval.
        rounds: Per process; every program has one turn per round.
        turn_ms: A turn repeats one image for at least this long, and at least 5 times.
        latency: now; or deferred: a sweep times the files of all jobs after the last one, so that
            no job trains meanwhile.
        eager: Time the baseline in eager PyTorch as well, in a process of its own.
    """

    processes: int
    rounds: int
    turn_ms: float
    latency: str = "now"
    eager: bool = True

    def __post_init__(self) -> None:
        require(self.processes >= 1, "processes", "be at least 1", self.processes)
        require(self.rounds >= 1, "rounds", "be at least 1", self.rounds)
        require(0 < self.turn_ms < math.inf, "turn_ms", "be above 0", self.turn_ms)
        require_one_of(("now", DEFERRED), "latency", self.latency)

    def brief(self) -> "Timing":
        """Return a shorter timing, for numbers that nothing is compared with: no interval."""
        return replace(self, processes=1, rounds=min(self.rounds, 10))


@dataclass(frozen=True)
class Latency:
    """The time of one inference on one image, and its ratio to the first program's.

    Args:
        latency_ms, latency_ms_p95: Median and 95th percentile over all inferences of all processes.
        speedup: How many times as fast as the first program.
        speedup_low, speedup_high: Its 95 % interval; None from a single process.
    """

    latency_ms: float
    latency_ms_p95: float
    speedup: float
    speedup_low: float | None
    speedup_high: float | None

    def metrics(self) -> dict[str, float]:
        """Return the values that there are, by the names of their metrics."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Stopwatch:
    """Fresh child processes that wait for programs to time.

    Started early, they import their engines while the parent works. Each is used once, ends with
    the parent even if that is killed, and receives none of the parent's Ctrl-C.

    After timing, `busy_cores` is the mean number of cores that other work kept busy.
    """

    def __init__(self, processes: int, *engines: str) -> None:
        command = [sys.executable, "-m", "paredown.measure.latency", *engines]
        pipe = subprocess.PIPE
        self._children = [
            subprocess.Popen(
                command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
                env=impatient(),
            )
            for _ in range(processes)
        ]
        self.busy_cores = 0.0

    def __enter__(self) -> "Stopwatch":
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:  # a busy one would go on for many seconds
            child.kill()
        for child in self._children:
            child.communicate()

    def time(self, programs: Sequence[Lowered], image: Batch, timing: Timing) -> list[Latency]:
        """Time every program against the first; only once, since the children end.

        The speed-up is the geometric mean over processes of the median over rounds of the ratio
        of a turn's medians; its interval is Student's t over the processes. RunError is raised if
        a child could not run a program.
        """
        processes, busy_cores = [], []
        request = pickle.dumps((list(programs), image, timing))
        with _host_lock():
            for child in self._children:
                output, errors = child.communicate(request)
                _, mark, reply = output.partition(MARK)
                if child.returncode or not mark:
                    reason = _reason(child.returncode, errors)
                    raise RunError(f"timing failed in its own process: {reason}")
                rounds, others = pickle.loads(reply)  # noqa: S301, our own child's
                processes.append(rounds)
                busy_cores.append(others)
        self.busy_cores = statistics.fmean(busy_cores)
        return [_summarize(processes, index) for index in range(len(programs))]


def time_side_by_side(programs: Sequence[Lowered], image: Batch, timing: Timing) -> list[Latency]:
    """Time programs against the first, in children started now; see `Stopwatch.time`."""
    with Stopwatch(timing.processes, *(runtime.engine for runtime, _ in programs)) as watch:
        return watch.time(programs, image, timing)


@contextmanager
def _host_lock() -> Iterator[None]:
    """Hold a lock so that this user times one job at a time on this host."""
    from filelock import FileLock, Timeout

    folder = own_folder()
    if folder is None:
        log.warning("no folder for a lock is writable; other jobs may be timed at the same time")
        yield
        return
    lock = FileLock(folder / "timing.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another job is being timed on this host; waiting")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _time_and_load(
    programs: Sequence[Lowered], image: Batch, timing: Timing
) -> tuple[Rounds, float]:
    """Return the timed rounds, and the number of cores that other processes kept busy."""
    before, own, start = _busy_seconds(), time.process_time(), time.perf_counter()
    rounds = _rounds(programs, image, timing)
    others = (_busy_seconds() - before) - (time.process_time() - own)
    return rounds, max(0.0, others / (time.perf_counter() - start))


def _busy_seconds() -> float:
    """Return the core-seconds that the host was busy since it started, stolen ones included."""
    import psutil

    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # in user and nice
    return float(sum(times) - idle - guests)


def _rounds(programs: Sequence[Lowered], image: Batch, timing: Timing) -> Rounds:
    """Time all programs in turn; for a child process."""
    loaded = [runtime.load(folder) for runtime, folder in programs]
    calls = []
    for program in loaded:
        program(image)
        fastest = min(_milliseconds(program, image) for _ in range(5))
        calls.append(max(5, math.ceil(timing.turn_ms / fastest)))
    rounds = []
    for _ in range(timing.rounds):
        turn = []
        for program, count in zip(loaded, calls, strict=True):
            program(image)  # the turn before has filled the caches with its own weights
            turn.append([_milliseconds(program, image) for _ in range(count)])
        rounds.append(turn)
    return rounds


def _milliseconds(program: Program, image: Batch) -> float:
    start = time.perf_counter_ns()
    program(image)
    return (time.perf_counter_ns() - start) / 1e6


def _summarize(processes: list[Rounds], index: int) -> Latency:
    inferences = [ms for rounds in processes for turn in rounds for ms in turn[index]]
    logs = []
    for rounds in processes:
        medians = ((statistics.median(turn[0]), statistics.median(turn[index])) for turn in rounds)
        logs.append(math.log(statistics.median(first / own for first, own in medians)))
    center, margin = mean_margin(logs)
    return Latency(
        latency_ms=statistics.median(inferences),
        latency_ms_p95=float(np.quantile(inferences, 0.95)),
        speedup=math.exp(center),
        speedup_low=math.exp(center - margin) if logs[1:] else None,
        speedup_high=math.exp(center + margin) if logs[1:] else None,
    )


def _reason(code: int, errors: bytes) -> str:
    """Return why a child sent no reply, from its exit code and its stderr."""
    last_line = errors.decode(errors="replace").strip().rpartition("\n")[2]
    if code >= 0:
        return last_line or f"it exited with code {code} and printed nothing"
    name = signal.Signals(-code).name
    cause = ", as Linux does when memory runs out" if name == "SIGKILL" else ""
    output = f"; it last printed: {last_line}" if last_line else ""
    return f"it was killed by {name}{cause}{output}"


def main() -> None:
    """Import the engines named as arguments, read a request from stdin, time, reply on stdout."""
    die_with_parent()
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # where engines and networks print
    for engine in sys.argv[1:]:
        importlib.import_module(engine)
    request = sys.stdin.buffer.read()
    if request:
        reply = _time_and_load(*pickle.loads(request))  # noqa: S301, from our own parent
        with replies:
            replies.write(MARK + pickle.dumps(reply))


if __name__ == "__main__":
    main()
