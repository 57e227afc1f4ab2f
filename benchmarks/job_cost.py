"""Where the wall time of one job goes.

    python benchmarks/job_cost.py                        cold: an empty store of its own
    python benchmarks/job_cost.py --warm                 the same job again, from the store
    python benchmarks/job_cost.py --next prune.amount=0.3    a sweep's next job, after the first

Training, calibration, evaluation and timing are the work; everything else is overhead.
The imports are a process's, not a job's: a sweep pays them once.
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

spent: Counter[str] = Counter()
running: list[str] = []
since = time.perf_counter()


def switch() -> None:
    """Book the time since the last switch on what was running."""
    global since
    now = time.perf_counter()
    spent[running[-1] if running else "the rest"] += now - since
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
    import sklearn.datasets
    import torch_pruning
    import torchvision  # noqa: F401
    from onnxruntime import quantization  # noqa: F401

    from paredown import measure, pipeline, store, tracking
    from paredown.dataset import digits
    from paredown.runtime import onnxruntime as ort
    from paredown.training import loop

    assert mlflow and onnxscript and sklearn and torch_pruning
    book("training", loop, "fit")
    book("calibration", ort, "_quantize")
    book("evaluation", measure, "accuracy")
    book("timing", pipeline.Stopwatch, "time")
    book("export", ort, "_export")
    book("export's check", ort.OnnxRuntime, "_check")
    book("store", store.Store, "get")
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
    sys.argv = [str(ROOT / "run.py"), *overrides]
    runpy.run_path(sys.argv[0], run_name="__main__")
    switch()
    total = sum(spent.values())
    print(f"\n{' '.join(overrides)}: {total:.2f} s")
    for name, seconds in spent.most_common():
        print(f"  {name:15} {seconds:7.2f} s {'' if name in WORK else ' overhead'}")
    print(f"  overhead in all {total - sum(spent[name] for name in WORK):7.2f} s")


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
