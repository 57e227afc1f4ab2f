"""The settings of the search, under hydra.sweeper."""

import os
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig


@dataclass
class ParetoConf:
    """The settings of `hydra/sweeper=pareto`, under hydra.sweeper.

    Args:
        n_trials: COMPLETE trials of the study in all, those of earlier sweeps counted.
        n_jobs: Jobs given to the launcher at once; None: as many as `width` says it runs.
        timeout: No job starts after this many seconds; None: no limit.
        max_failure_rate: The sweep ends when more than this share of n_trials failed, [0, 1].
        seed: Of the sampler.
        sampler: tpe, nsga2, gp, qmc, random, grid, or auto: gp for 48 trials, then tpe.
        objectives: Metric -> maximize or minimize, one to three; None: accuracy and speedup
            maximize, size_mb minimize.
        params: The search space, in the syntax of Hydra's overrides.
        enqueue: Points to start with, each a mapping of swept names to values, the rest is
            sampled; None: the configuration's own values, then the ends and the middle of
            prune.amount.
        storage: A postgresql:// URL; None: the file study.journal in the sweep's folder.
        study_name: Of the study in a storage that others share; None: the sweep's folder.
        warm_start: Let finished runs of the experiment with the same fixed settings, machine and
            data into a new study; they do not count as its trials.
    """

    _target_: str = "hydra_plugins.paredown_sweeper.paredown_sweeper.ParetoSweeper"
    n_trials: int = 32
    n_jobs: int | None = None
    timeout: float | None = None
    max_failure_rate: float = 0.25
    seed: int = 0
    sampler: str = "auto"
    objectives: Any = None  # not a typed dict: OmegaConf cannot merge one into None
    params: dict[str, Any] = field(default_factory=dict)
    enqueue: list[dict[str, Any]] | None = None
    storage: str | None = None
    study_name: str | None = None
    warm_start: bool = False


def width(launcher: DictConfig) -> int:
    """Return how many jobs a launcher runs at once, from its settings; 1 for Hydra's own.

    The settings of Ray and of submitit's local jobs do not say: 4 and 2 then.
    """
    target = str(launcher._target_)
    if "joblib" in target:
        return os.cpu_count() or 1 if launcher.n_jobs == -1 else int(launcher.n_jobs)
    if "Slurm" in target:
        return int(launcher.array_parallelism)
    return 4 if "ray" in target else 2 if "submitit" in target else 1
