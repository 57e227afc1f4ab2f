"""How long pick.py takes to answer over many measured variants.

    python benchmarks/pick_rows.py [rows ...]        100, 1,000 and 10,000 if left out

Makes a store a size through the MLflow API, runs of 4 stages with every metric, param and tag that
a real run logs, then times the whole command with a budget that nothing meets, so that it reads and
walks everything, prints the walk and ends with exit code 3. The names are read from a tiny real run
that is made first. Goal: at most 5 s at 10,000, growing no worse than linearly.
"""

import hashlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from paredown.host import machine
from paredown.tracking.contact import connect

ROOT = Path(__file__).parents[1]
TINY = (
    "model=cnn4 model.width=8 model@student=cnn4 student.width=4 training.epochs=1 prune.epochs=1"
)
REPEATS = 5
BUDGETS = {
    "size": ["budget.size_mb=1e-9"],
    "size and latency": ["budget.size_mb=1e-9", "budget.latency_ms=1e-9"],
}


def command(folder: Path, *arguments: str) -> list[str]:
    """Type a command whose store is in a folder."""
    return [sys.executable, *arguments, f"tracking.uri=sqlite:///{folder}/mlflow.db"]


def template(folder: Path) -> object:
    """Make a tiny real run; give what it logged."""
    tiny = [*TINY.split(), "measure.processes=2", "measure.rounds=2", "store.folder=off"]
    made = command(folder, str(ROOT / "run.py"), *tiny)
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    client = connect(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'paredown'")
    return client.search_runs([experiment.experiment_id])[0].data


def fill(folder: Path, data: object, runs: int) -> None:
    """Log runs like the template, each with files of its own and figures a little off."""
    from mlflow.entities import Metric, Param

    client = connect(f"sqlite:///{folder}/mlflow.db")
    experiment = client.create_experiment("paredown", folder.as_uri())
    rng = np.random.default_rng(0)
    params = [Param(*item) for item in data.params.items()]
    for number in range(runs):
        tags = {name: text for name, text in data.tags.items() if name != "mlflow.runName"}
        for stage in tags["stages"].split(","):
            tags[f"{stage}/sha256"] = hashlib.sha256(f"{number}{stage}".encode()).hexdigest()
        run = client.create_run(experiment, run_name=f"run{number}", tags=tags)
        metrics = [
            Metric(name, value * rng.uniform(0.9, 1), 0, 0) for name, value in data.metrics.items()
        ]
        client.log_batch(run.info.run_id, metrics, params)
        client.set_terminated(run.info.run_id)


def clock(folder: Path, budget: list[str]) -> tuple[float, float]:
    """Time the command: wall seconds, and the CPU seconds that it took, its children's too."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    asked = command(folder, str(ROOT / "pick.py"), *budget)
    done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Fill a store a size, and time pick.py on it."""
    sizes = [int(text) for text in sys.argv[1:]] or [100, 1_000, 10_000]
    versions = machine.versions("mlflow", "sqlalchemy", "hydra-core")
    print(
        f"{machine.cpu_name()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, {versions}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        first = Path(scratch, "template")
        first.mkdir()
        data = template(first)
        values = len(data.metrics) + len(data.params) + len(data.tags)
        for rows in sizes:
            folder = Path(scratch, str(rows))
            folder.mkdir()
            fill(folder, data, rows // 4)
            for name, budget in BUDGETS.items():
                taken = [clock(folder, budget) for _ in range(REPEATS)]
                wall, cpu = (sorted(times) for times in zip(*taken, strict=True))
                told = [
                    f"{kind} {statistics.median(times):.2f} s ({times[0]:.2f} to {times[-1]:.2f})"
                    for kind, times in (("wall", wall), ("CPU", cpu))
                ]
                print(
                    f"{rows:>6,} rows, {values} values a run, limits on {name}, "
                    f"median of {REPEATS}: {', '.join(told)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
