"""The first line of a job: what it does, with which images, and where it will lie."""

import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from paredown.config import typed
from paredown.dataset import Dataset
from paredown.run.plan import Plan
from paredown.store import OFF

log = logging.getLogger(__name__)


def announce(parts: Plan, dataset: Dataset, folder: Path) -> None:
    """Log the first line of a job, and that it is no search where somebody may expect one.

    Args:
        parts: Of the job.
        dataset: Its images, loaded.
        folder: The job's own.
    """
    log.info(opening(parts, dataset, folder))
    alone = lone_search()
    if alone:
        log.warning(alone)


def opening(parts: Plan, dataset: Dataset, folder: Path) -> str:
    """Say what a job does, with which images, and where its results lie."""
    images = ", ".join(
        f"{len(split):,} to {verb}"
        for verb, split in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test))
    )
    kept = "nowhere" if parts.store.folder == OFF else parts.store.folder or parts.store.path
    return (
        f"{parts.name}: {', '.join(parts.stages)} on {dataset.name} ({images}; "
        f"{len(dataset.classes)} classes) for {parts.runtime.name}; "
        f"the run lies in {folder}, its networks {'' if kept == 'nowhere' else 'in '}{kept}"
    )


def lone_search() -> str:
    """Say that a search was chosen and is not made; empty where none was, or it is under way."""
    hydra = HydraConfig.get()
    target = str(hydra.sweeper._target_)
    if hydra.mode == RunMode.MULTIRUN or target.endswith((".BasicSweeper", ".GridSweeper")):
        return ""
    experiment = hydra.runtime.choices.get("experiment")
    chosen = f"experiment={experiment}" if experiment else "hydra/sweeper=pareto"
    return f"this is one job and no search, which begins with -m: {typed('run')} -m {chosen}"
