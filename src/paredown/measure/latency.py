"""Time programs side by side, in fresh processes, so that their ratio means something.

On a shared machine milliseconds drift by 40 % within minutes, and a process's memory layout alone
moves them by some percent. So every program is timed in turn, round by round, in each of several
child processes, and the speed-up is taken within a round. Jobs that run side by side time one
after the other, and each says how busy other work kept the host meanwhile.
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
from paredown.run.results import DEFERRED
from paredown.runtime import Runtime

log = logging.getLogger(__name__)


Lowered = tuple[Runtime, Path]
"""A runtime, and the folder with the files that it lowered."""
MARK = b"\n:paredown:\n"  # the answer begins; what comes before was printed by others
Rounds = list[list[list[float]]]
"""[round][program] -> ms of each inference."""


@dataclass(frozen=True)
class Timing:
    """How long to time.

    Args:
        processes: Fresh child processes, one after the other; with one there is no interval.
        rounds: Of each process; every program has its turn in each.
        turn_ms: A turn repeats one image for at least this long, and at least 5 times.
        latency: now; or deferred: the jobs of a sweep take none, and the sweep times all of their
            files when they are done, so that no job trains beside it.
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
        """Time less, for a figure that is shown but never compared: one process, no interval."""
        return replace(self, processes=1, rounds=min(self.rounds, 10))


@dataclass(frozen=True)
class Latency:
    """The time of one inference on one image, and how it compares.

    Args:
        latency_ms, latency_ms_p95: Median and 95th percentile over all inferences of all processes.
        speedup: How many times faster than the first program timed beside it.
        speedup_low, speedup_high: Its 95 % interval; None from a single process.
    """

    latency_ms: float
    latency_ms_p95: float
    speedup: float
    speedup_low: float | None
    speedup_high: float | None

    def metrics(self) -> dict[str, float]:
        """The same, by the names that runs log."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Stopwatch:
    """Fresh child processes that wait for something to time.

    Started early, they import their engines while the parent has other work. Each is used once,
    ends when the parent does or dies, and hears no Ctrl-C of the parent's.

    After it has timed, `busy_cores` says how many cores other work kept busy in the mean.
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
        """Time every program against the first; uses the children up.

        The speed-up is the geometric mean over processes of the median over rounds of the ratio
        of a turn's medians; its interval is Student's t over the processes.

        Args:
            programs: The first is what the others are compared with.
            image: (1, C, H, W), normalized.
            timing: How long.

        Returns:
            One Latency a program.

        Raises:
            RunError: If a child could not run a program.
        """
        turns = []  # [process][round][program] -> ms of each inference
        busy = []
        asked = pickle.dumps((list(programs), image, timing))
        with _alone():
            for child in self._children:
                answer, complaint = child.communicate(asked)
                _, mark, found = answer.partition(MARK)
                if child.returncode or not mark:
                    raise RunError(
                        f"timing failed in its own process: {_reason(child.returncode, complaint)}"
                    )
                rounds, others = pickle.loads(found)  # noqa: S301, our own child's
                turns.append(rounds)
                busy.append(others)
        self.busy_cores = statistics.fmean(busy)
        return [_summarize(turns, index) for index in range(len(programs))]


def time_side_by_side(programs: Sequence[Lowered], image: Batch, timing: Timing) -> list[Latency]:
    """Time programs against the first, in children started now; see `Stopwatch.time`."""
    with Stopwatch(timing.processes, *(runtime.engine for runtime, _ in programs)) as watch:
        return watch.time(programs, image, timing)


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other job of this user times on this host."""
    from filelock import FileLock, Timeout

    folder = own_folder()
    if folder is None:
        log.warning("no folder for a lock can be made; other jobs may time at the same time")
        yield
        return
    lock = FileLock(folder / "timing.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another job is timing on this host; waiting")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _watched(programs: Sequence[Lowered], image: Batch, timing: Timing) -> tuple[Rounds, float]:
    """Time all programs in turn, and tell how many cores other processes kept busy meanwhile."""
    before, own, start = _busy_seconds(), time.process_time(), time.perf_counter()
    rounds = _rounds(programs, image, timing)
    others = (_busy_seconds() - before) - (time.process_time() - own)
    return rounds, max(0.0, others / (time.perf_counter() - start))


def _busy_seconds() -> float:
    """Give the seconds that all cores were busy since the host started, stolen ones included."""
    import psutil

    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # in user and nice
    return float(sum(times) - idle - guests)


def _rounds(programs: Sequence[Lowered], image: Batch, timing: Timing) -> Rounds:
    """Time all programs in turn; runs in a child process."""
    loaded = [runtime.load(folder) for runtime, folder in programs]
    calls = []
    for program in loaded:
        program(image)
        once = min(_timed(program, image) for _ in range(5))
        calls.append(max(5, math.ceil(timing.turn_ms / once)))
    rounds = []
    for _ in range(timing.rounds):
        turn = []
        for program, count in zip(loaded, calls, strict=True):
            program(image)  # the turn before has filled the caches with its own weights
            turn.append([_timed(program, image) for _ in range(count)])
        rounds.append(turn)
    return rounds


def _timed(program: object, image: Batch) -> float:
    start = time.perf_counter_ns()
    program(image)  # type: ignore[operator]
    return (time.perf_counter_ns() - start) / 1e6


def _summarize(turns: list[Rounds], index: int) -> Latency:
    inferences = [ms for process in turns for turn in process for ms in turn[index]]
    logs = []
    for process in turns:
        medians = ((statistics.median(turn[0]), statistics.median(turn[index])) for turn in process)
        logs.append(math.log(statistics.median(first / own for first, own in medians)))
    center, margin = mean_margin(logs)
    return Latency(
        latency_ms=statistics.median(inferences),
        latency_ms_p95=float(np.quantile(inferences, 0.95)),
        speedup=math.exp(center),
        speedup_low=math.exp(center - margin) if logs[1:] else None,
        speedup_high=math.exp(center + margin) if logs[1:] else None,
    )


def _reason(code: int, complaint: bytes) -> str:
    """Say why a child gave no answer."""
    said = complaint.decode(errors="replace").strip().rpartition("\n")[2]
    if code >= 0:
        return said or f"it ended with exit code {code} and without a word"
    name = signal.Signals(-code).name
    likely = ", as Linux does when memory runs out" if name == "SIGKILL" else ""
    return f"it was killed by {name}{likely}" + (f"; its last words: {said}" if said else "")


def main() -> None:
    """Import the engines named as arguments, wait for the question on stdin, time, answer."""
    die_with_parent()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # where engines and networks print
    for engine in sys.argv[1:]:
        importlib.import_module(engine)
    asked = sys.stdin.buffer.read()
    if asked:
        found = _watched(*pickle.loads(asked))  # noqa: S301, from our own parent
        with answers:
            answers.write(MARK + pickle.dumps(found))


if __name__ == "__main__":
    main()
