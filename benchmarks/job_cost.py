"""Where the wall time of one job goes.

    python benchmarks/job_cost.py                        cold: an empty store of its own
    python benchmarks/job_cost.py --warm                 the same job again, from the store
    python benchmarks/job_cost.py --next prune.amount=0.3    a sweep's next job, after the first

Training, calibration, evaluation and timing are the work; everything else is overhead.
The imports are a process's, not a job's: a sweep pays them once. The timing's child processes start
with the job and import beside it, so that wall time holds some of theirs; own CPU does not.
"""

import functools
import runpy
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WORK = ("training", "calibration", "evaluation", "timing")

spent: Counter[str] = Counter()  # wall seconds
worked: Counter[str] = Counter()  # CPU seconds of this process: what others cost it left out
running: list[str] = []
since = time.perf_counter(), time.process_time()


def switch() -> None:
    """Book the time since the last switch on what was running."""
    global since
    now = time.perf_counter(), time.process_time()
    name = running[-1] if running else "the rest"
    spent[name] += now[0] - since[0]
    worked[name] += now[1] - since[1]
    since = now


def book(name: str, owner: Any, attribute: str) -> None:
    """Book the time inside a function, less that of booked functions within it, under a name."""
    inner: Callable[..., Any] = getattr(owner, attribute)

    @functools.wraps(inner)
    def timed(*args: Any, **kwargs: Any) -> Any:
        switch()
        running.append(name)
        try:
            return inner(*args, **kwargs)
        finally:
            switch()
            running.pop()

    setattr(owner, attribute, timed)


def import_all() -> None:
    """Import what a job imports, and book what is told apart below."""
    import mlflow
    import onnxscript
    import torch_pruning
    import torchvision  # noqa: F401
    from onnxruntime import quantization  # noqa: F401

    from paredown import tracking
    from paredown.dataset import digits
    from paredown.measure import quality
    from paredown.run import pipeline
    from paredown.runtime import onnxruntime as ort
    from paredown.store import local
    from paredown.training import loop

    assert mlflow and onnxscript and torch_pruning
    book("training", loop, "fit")
    book("calibration", ort, "_quantize")
    book("evaluation", quality, "accuracy")
    book("timing", pipeline.Stopwatch, "time")
    book("export", ort, "_export")
    book("export's check", ort.OnnxRuntime, "_check")
    book("store", local.Store, "get")
    book("data", digits.Digits, "load")
    from paredown.tracking.run import Run
    from paredown.tracking.tracker import Tracker

    book("tracking", tracking.Tracking, "connect")
    for name in ("start", "holder_of", "where"):
        book("tracking", Tracker, name)
    for name in ("log", "log_curves", "log_text", "keep", "end"):
        book("tracking", Run, name)


def job(*overrides: str) -> None:
    """Do one job as run.py does it, and print where its time went."""
    switch()
    spent.clear()
    worked.clear()
    sys.argv = [str(ROOT / "run.py"), *overrides]
    runpy.run_path(sys.argv[0], run_name="__main__")
    switch()
    print(f"\n{' '.join(overrides)}: {sum(spent.values()):.2f} s")
    print(f"  {'':15} {'wall, s':>8} {'own CPU, s':>11}")
    for name, seconds in spent.most_common():
        mark = "" if name in WORK else "  overhead"
        print(f"  {name:15} {seconds:8.2f} {worked[name]:11.2f}{mark}")
    wall, cpu = (
        sum(count[name] for name in spent if name not in WORK) for count in (spent, worked)
    )
    print(f"  {'overhead in all':15} {wall:8.2f} {cpu:11.2f}")


def main() -> None:
    """Run cold, then whatever was asked for, on a store and a database of their own."""
    asked = sys.argv[1:]
    start = time.perf_counter()
    import_all()
    print(f"imports {time.perf_counter() - start:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        places = (
            f"store.folder={folder}/store",
            f"tracking.uri=sqlite:///{folder}/mlflow.db",
        )
        job(*places, f"hydra.run.dir={folder}/cold")
        if "--warm" in asked:
            job(*places, f"hydra.run.dir={folder}/warm")
        if "--next" in asked:
            job(*asked[asked.index("--next") + 1 :], *places, f"hydra.run.dir={folder}/next")


if __name__ == "__main__":
    main()
