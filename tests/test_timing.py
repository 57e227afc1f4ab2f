import logging
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from paredown.dataset import Dataset
from paredown.errors import ConfigError, RunError
from paredown.host.process import own_folder
from paredown.measure.latency import (
    Lowered,
    Stopwatch,
    Timing,
    _host_lock,
    _summarize,
    time_side_by_side,
)
from paredown.measure.statistics import student_t
from paredown.model.cnn4 import Cnn4
from paredown.report import busy_warning
from paredown.runtime.onnxruntime import OnnxRuntime
from paredown.variant import Variant


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (4, 2.776), (10, 2.228), (30, 2.042)]
)
def test_quantiles_are_those_of_the_table(freedom: int, quantile: float) -> None:
    assert student_t(freedom) == pytest.approx(quantile, abs=5e-4)


# [process][round][program] -> ms of each inference
TURNS = [
    [  # ratios 2, 10 and 3
        [[4.0, 4.0, 9.0], [2.0, 2.0, 2.0]],
        [[20.0, 20.0, 20.0], [2.0, 2.0, 2.0]],
        [[6.0, 6.0, 6.0], [2.0, 2.0, 7.0]],
    ],
    [  # ratios 4, 4 and 1
        [[8.0, 8.0, 8.0], [1.0, 2.0, 3.0]],
        [[4.0, 4.0, 4.0], [1.0, 1.0, 1.0]],
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]],
    ],
]


def test_the_speed_up_is_the_geometric_mean_over_processes_of_median_ratios() -> None:
    assert _summarize(TURNS, 1).speedup == pytest.approx(math.sqrt(3 * 4))


def test_the_interval_is_student_t_over_the_logarithms_of_the_processes() -> None:
    latency = _summarize(TURNS, 1)
    spread = abs(math.log(4) - math.log(3)) / math.sqrt(2)  # deviation of two numbers
    margin = 12.706 * spread / math.sqrt(2)
    assert latency.speedup_low == pytest.approx(math.sqrt(12) * math.exp(-margin), rel=1e-4)
    assert latency.speedup_high == pytest.approx(math.sqrt(12) * math.exp(margin), rel=1e-4)


def test_one_process_gives_a_speed_up_without_an_interval() -> None:
    metrics = _summarize(TURNS[:1], 1).metrics()
    assert metrics["speedup"] == pytest.approx(3)
    assert not metrics.keys() & {"speedup_low", "speedup_high"}


def test_latency_is_taken_over_all_inferences_of_all_processes() -> None:
    inferences = [2.0] * 8 + [7.0] + [1.0, 2.0, 3.0] + [1.0] * 6
    latency = _summarize(TURNS, 1)
    assert latency.latency_ms == 2.0
    assert latency.latency_ms_p95 == pytest.approx(np.quantile(inferences, 0.95))


def test_a_program_is_exactly_as_fast_as_itself() -> None:
    latency = _summarize(TURNS, 0)
    assert (latency.speedup, latency.speedup_low, latency.speedup_high) == (1, 1, 1)


def test_a_machine_that_slows_down_as_a_whole_changes_no_speed_up() -> None:
    slower = [
        [[[ms * factor for ms in program] for program in turn] for turn in process]
        for process, factor in zip(TURNS, (1.0, 1.7), strict=True)
    ]
    assert _summarize(slower, 1).speedup == pytest.approx(_summarize(TURNS, 1).speedup)


RUNTIME = OnnxRuntime(1, "onnxruntime")


def lowered(width: int, few: Dataset, factory: pytest.TempPathFactory) -> Lowered:
    source, folder = Cnn4(width, "cnn4"), factory.mktemp("lowered")
    torch.manual_seed(0)
    RUNTIME.lower(Variant(source.build(10, (3, 32, 32)).eval(), source), few, folder)
    return RUNTIME, folder


@pytest.fixture(scope="module")
def narrow(few: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Lowered:
    return lowered(4, few, tmp_path_factory)


def test_a_much_smaller_network_is_timed_faster_and_the_first_is_the_unit(
    few: Dataset, narrow: Lowered, tmp_path_factory: pytest.TempPathFactory
) -> None:
    programs = [lowered(64, few, tmp_path_factory), narrow]
    image = few.example
    large, small = time_side_by_side(programs, image, Timing(processes=2, rounds=3, turn_ms=1))
    assert large.speedup == 1
    assert small.speedup > 3
    assert 0 < small.latency_ms < large.latency_ms < large.latency_ms_p95
    assert small.speedup_low < small.speedup < small.speedup_high


@pytest.mark.parametrize(
    ("values", "named"),
    [((0, 1, 1.0), "processes"), ((2, 0, 1.0), "rounds"), ((2, 1, 0.0), "turn_ms")],
)
def test_a_timing_that_times_nothing_is_refused(values: tuple, named: str) -> None:
    with pytest.raises(ConfigError, match=f"^{named} must"):
        Timing(*values)


def test_two_jobs_of_a_host_time_one_after_the_other(
    few: Dataset, narrow: Lowered, caplog: pytest.LogCaptureFixture
) -> None:
    latencies: list[object] = []
    image = few.example
    job = threading.Thread(
        target=lambda: latencies.extend(time_side_by_side([narrow], image, Timing(1, 1, 1.0)))
    )
    with caplog.at_level(logging.INFO), _host_lock():
        job.start()
        while "another job is being timed on this host; waiting" not in caplog.text:
            assert job.is_alive()
            time.sleep(0.01)
        assert latencies == []
    job.join(30)
    assert len(latencies) == 1


def test_other_work_on_the_host_is_measured(few: Dataset, narrow: Lowered) -> None:
    image = few.example
    spin = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with Stopwatch(1, "onnxruntime") as watch:
            watch.time([narrow], image, Timing(1, 100, 5.0))
    finally:
        spin.kill()
        spin.wait()
    assert watch.busy_cores > 0.3  # of the one that it takes, on however busy a host
    told = busy_warning(watch.busy_cores)
    assert told[0].startswith("busy:    other work took ")
    assert busy_warning(0.1) == []


@dataclass(frozen=True)
class Loud:
    """A runtime whose program prints, or ends its process."""

    name: str = "loud"
    threads: int = 1
    engine: str = "json"
    fault: str = ""

    def load(self, folder: Path) -> object:
        print("loaded")
        os.write(1, b"and from C")

        def program(images: object) -> None:
            print("run")
            if self.fault == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.fault == "left":
                os._exit(0)
            if self.fault == "raised":
                raise ValueError("too small")
            if self.fault == "busy":
                Path(folder, "busy").write_text(str(os.getpid()))
                while True:
                    pass

        return program


IMAGE = np.zeros((1, 3, 8, 8), np.float32)


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let children import this file, as a user's own runtime would be."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    monkeypatch.setattr(Loud, "__module__", Path(__file__).stem)
    monkeypatch.setitem(sys.modules, Path(__file__).stem, sys.modules[__name__])


def test_a_program_that_prints_is_timed_all_the_same(tmp_path: Path, importable: None) -> None:
    (latency,) = time_side_by_side([(Loud(), tmp_path)], IMAGE, Timing(1, 1, 1.0))
    assert latency.latency_ms > 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("killed", "it was killed by SIGKILL, as Linux does when memory runs out"),
        ("left", "it exited with code 0 and printed nothing|timing failed.*: "),
        ("raised", "ValueError: too small"),
    ],
)
def test_a_child_that_dies_says_of_what(
    tmp_path: Path, importable: None, fault: str, reason: str
) -> None:
    with pytest.raises(RunError, match=reason):
        time_side_by_side([(Loud(fault=fault), tmp_path)], IMAGE, Timing(1, 1, 1.0))


def wait_for(file: Path) -> int:
    end = time.monotonic() + 60
    while not file.is_file() or not file.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    return int(file.read_text())


def test_an_interruption_does_not_wait_for_a_busy_child(tmp_path: Path, importable: None) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def strike() -> None:
        wait_for(tmp_path / "busy")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), Stopwatch(1) as watch:
            threading.Thread(target=strike).start()
            watch.time([(Loud(fault="busy"), tmp_path)], IMAGE, Timing(1, 1, 1.0))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not psutil.pid_exists(wait_for(tmp_path / "busy"))


PARENT = """
import sys
from pathlib import Path
import test_timing as own
programs = [(own.Loud(fault="busy"), Path(sys.argv[1]))]
own.time_side_by_side(programs, own.IMAGE, own.Timing(1, 1, 1.0))
"""


def test_a_parent_that_is_killed_leaves_no_child(tmp_path: Path, importable: None) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)])
    child = wait_for(tmp_path / "busy")
    parent.kill()
    parent.wait()
    end = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != "zombie":
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_lock_of_timing_lies_where_nobody_else_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = own_folder()
    assert folder == tmp_path / f"paredown-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)  # somebody else has made it
    assert own_folder() == tmp_path / "cache" / "paredown" / "host"
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    assert own_folder() is None
    with _host_lock():
        pass
