"""What two workers on two cores are worth: a single-threaded grid, one job at a time and two.

    python benchmarks/efficiency.py [override ...]

Eight seeds of a cnn4 on digits, one thread each; joblib with one process and with two, twice in
turn, the store off, so that nothing is shared. A sweep's time goes from the command to the end of
its last job: start-up, training, lowering and MLflow are in it, and the timing of the files at the
end, which is one after the other by design, is not. Efficiency is the time of one worker over twice
the time of two. Goal: at least 0.85.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import ROOT, keep, setting, spread

from paredown.tracking import Tracking

REPEATS = 2


def clock(workers: int, folder: Path, overrides: list[str]) -> float:
    """Time a sweep until its last job is done."""
    uri = f"sqlite:///{folder}/mlflow.db"
    command = [
        *(sys.executable, str(ROOT / "run.py"), "-m", "hydra/launcher=joblib"),
        *(f"hydra.launcher.n_jobs={workers}", f"hydra.sweep.dir={folder}/sweep", *overrides),
        *(f"tracking.uri={uri}", "tracking.experiment=efficiency"),
    ]
    start = time.time()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    tracker = Tracking(uri, "efficiency", None, None).visit()
    runs = tracker.client.search_runs([tracker.experiment_id], "tags.job != ''")
    return max(run.info.end_time for run in runs) / 1000 - start


def main() -> None:
    """Measure, print and keep."""
    about = setting("torch", "hydra-core", "joblib", "mlflow")
    asked = [
        *("technique=baseline", "model=cnn4", "training.epochs=40", "training.threads=1"),
        *("store.folder=off", "measure.latency=deferred", "seed=range(8)", *sys.argv[1:]),
    ]
    print(" ".join(asked), flush=True)
    taken: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(REPEATS):
        for workers, times in taken.items():
            with tempfile.TemporaryDirectory() as name:
                times.append(clock(workers, Path(name), asked))
            print(f"{workers} workers: {times[-1]:.1f} s", flush=True)
    found = [one / (2 * two) for one, two in zip(taken[1], taken[2], strict=True)]
    mean, low, high = spread(found)
    print(f"efficiency {mean:.2f} [{low:.2f}, {high:.2f}]")
    keep("efficiency", {**about, "overrides": asked}, {"seconds": taken, "efficiency": found})


if __name__ == "__main__":
    main()
