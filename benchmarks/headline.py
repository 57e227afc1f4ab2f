"""The headline: how small and fast a ResNet-18 on Fashion-MNIST becomes, and what that costs.

    python benchmarks/headline.py SWEEP[,OTHER ...] [override ...]

SWEEP is the folder of a search: `python run.py -m experiment=fashion hydra.sweeper.n_trials=8`.
Trials of OTHER searches, such as one with another criterion, are only kept beside its own.
From its front the most accurate variant (validation split) is taken that is 100 times smaller and
20 times faster than the teacher in the same runtime. Its settings are run again with seeds 0, 1 and
2, each with a teacher of its own, and the test split is looked at. All files of a seed are timed
side by side. Overrides must be those of the search, such as store.folder=. Goals: teacher at least
92.5 %, 100 times smaller, 10 times faster, 60 times faster than eager float32, at most 1.0 point
lost.
"""

import json
import sys
from pathlib import Path
from typing import Any

from bench import keep, planned, setting, spread, walk
from omegaconf import OmegaConf

from paredown.measure import quality
from paredown.measure.latency import time_side_by_side
from paredown.runtime.torch import Torch

SEEDS = (0, 1, 2)
SMALLER, FASTER = 100, 20  # eager PyTorch takes 3.0 to 3.4 times as long as the runtime: 60
FIGURES = ("teacher", "accuracy", "lost", "smaller", "faster", "faster_than_eager")


def chosen(sweep: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take the most accurate trial of a front that is small and fast enough.

    Returns:
        The front's file, and the trial.
    """
    front = json.loads((sweep / "front.json").read_text())
    limit = front["baseline"]["size_mb"] / SMALLER
    enough = [
        trial
        for trial in front["trials"]
        if trial["metrics"]["size_mb"] <= limit and trial["metrics"]["speedup"] >= FASTER
    ]
    if not enough:
        raise SystemExit(f"no trial of {sweep} is {SMALLER}x smaller and {FASTER}x faster")
    return front, max(enough, key=lambda trial: trial["metrics"]["accuracy"])


def criterion_of(sweep: Path) -> str:
    """Name the criterion that all trials of a search pruned by."""
    config = OmegaConf.load(sweep / "multirun.yaml")
    return str(config.hydra.runtime.choices["prune/criterion"])


def repeat(seed: int, overrides: list[str]) -> dict[str, Any]:
    """Run the settings with a seed; judge and time the teacher's files and the last ones."""
    parts = planned(*overrides, f"seed={seed}")
    with parts.store.open() as store:
        path = walk(parts, store)
        last, data = len(path.names) - 1, parts.load()
        accuracies = [
            quality.accuracy(parts.runtime.load(path.shipped(at)), data, data.test)["accuracy"]
            for at in (0, last)
        ]
        sizes = [path.measured(at)["size_mb"] for at in (0, last)]
        eager = Torch(parts.runtime.threads, "torch"), path.weights(0)
        lowered = [(parts.runtime, path.shipped(at)) for at in range(last + 1)]
        timed = time_side_by_side([*lowered, eager], path.dataset.example, parts.timing)
    ms = [each.latency_ms for each in timed]
    return {
        "seed": seed,
        "teacher": 100 * accuracies[0],
        "accuracy": 100 * accuracies[1],
        "lost": 100 * (accuracies[0] - accuracies[1]),
        "size_mb": sizes,
        "latency_ms": dict(zip((*path.names, "eager"), ms, strict=True)),
        "smaller": sizes[0] / sizes[1],
        "faster": timed[last].speedup,
        "faster_than_eager": timed[last].speedup / timed[-1].speedup,
    }


def main() -> None:
    """Print and keep a row a seed, and the means with their spread."""
    about = setting()
    sweep, *others = map(Path, sys.argv[1].split(","))
    front, trial = chosen(sweep)
    settings = [f"{name}={value}" for name, value in trial["params"].items()]
    print(f"trial {trial['trial']} of {len(front['trials'])}: {' '.join(settings)}", flush=True)
    overrides = ["experiment=fashion", *settings, *sys.argv[2:]]
    rows = []
    for seed in SEEDS:
        row = repeat(seed, overrides)
        rows.append(row)
        print(
            ", ".join(f"{name} {row[name]:.2f}" for name in FIGURES), f"(seed {seed})", flush=True
        )
    means = {name: spread([row[name] for row in rows]) for name in FIGURES}
    for name, (mean, low, high) in means.items():
        print(f"{name}: {mean:.2f} [{low:.2f}, {high:.2f}]")
    points = [
        {"criterion": criterion_of(folder), **each["params"], **each["metrics"]}
        for folder in (sweep, *others)
        for each in json.loads((folder / "front.json").read_text())["trials"]
    ]
    found = {"settings": settings, "seeds": rows, "means": means}
    keep("headline", about, {**found, "baseline": front["baseline"], "search": points})


if __name__ == "__main__":
    main()
