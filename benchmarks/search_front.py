"""What a search finds in a few trials, against random search, and what a trial costs it.

    python benchmarks/search_front.py                  16 trials, five seeds, every sampler
    python benchmarks/search_front.py --trials 500 --seeds 1 --samplers auto

The objective is synthetic and instant (benchmarks/synthetic.py), so all the time is the search's.
Between two trials lies everything but the job: asking, composing, launching, telling.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from paredown.host import machine

APP = Path(__file__).with_name("synthetic.py")
SPACE = (
    "prune.amount=interval(0.1,0.8)",
    "distill.temperature=tag(log,interval(1,16))",
    "distill.alpha=interval(0.3,0.95)",
)


def search(sampler: str, seed: int, trials: int) -> tuple[float, list[float]]:
    """Search once, in a process of its own.

    Returns:
        The front's hypervolume, and the seconds from each trial's start to the next one's.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked = [f"hydra.sweeper.sampler={sampler}", f"hydra.sweeper.seed={seed}"]
        asked += [f"hydra.sweeper.n_trials={trials}", f"hydra.sweep.dir={folder}"]
        command = [sys.executable, str(APP), "-m", "hydra/sweeper=pareto", *asked, *SPACE]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        found = json.loads((folder / "front.json").read_text())
        journal = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
        study = optuna.load_study(study_name="pareto", storage=journal)
        starts = [trial.datetime_start.timestamp() for trial in study.trials]
        return found["hypervolume"][-1], list(np.diff(starts))


def main() -> None:
    """Search with every sampler and seed, in turn, and print medians and spreads."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--samplers", nargs="+", default=["auto", "random", "tpe", "nsga2", "qmc"])
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    versions = machine.versions("optuna", "hydra-core", "moocore")
    print(f"{machine.cpu_name()}; {versions}; {asked.trials} trials, {asked.seeds} seeds")
    for sampler in asked.samplers:
        done = [search(sampler, seed, asked.trials) for seed in range(asked.seeds)]
        volumes = sorted(volume for volume, _ in done)
        gaps = [gap for _, own in done for gap in own]
        tenth = max(1, asked.trials // 10)
        first = statistics.median(gap for _, own in done for gap in own[:tenth])
        last = statistics.median(gap for _, own in done for gap in own[-tenth:])
        print(
            f"{sampler:7} hypervolume {statistics.median(volumes):.2f} "
            f"[{volumes[0]:.2f}, {volumes[-1]:.2f}]   "
            f"ms a trial: median {1e3 * statistics.median(gaps):.0f}, "
            f"95th percentile {1e3 * np.quantile(gaps, 0.95):.0f}, "
            f"first tenth {1e3 * first:.0f}, last tenth {1e3 * last:.0f}"
        )


if __name__ == "__main__":
    main()
