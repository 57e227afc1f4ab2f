"""The first log lines of a job: its stages, its images, its folders."""

import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from paredown.cli.composition import is_search
from paredown.config import typed
from paredown.dataset import Dataset
from paredown.run.plan import Plan
from paredown.store import OFF

log = logging.getLogger(__name__)


def announce(plan: Plan, dataset: Dataset, folder: Path) -> None:
    """Log what a job does, and warn where a search was chosen without -m."""
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    images = ", ".join(f"{len(split):,} {name}" for name, split in splits.items())
    store = plan.store
    networks = "are not stored" if store.folder == OFF else f"in {store.folder or store.path}"
    log.info(
        f"{plan.name}: {', '.join(plan.stages)} on {dataset.name} ({images} images; "
        f"{len(dataset.classes)} classes) for {plan.runtime.name}; "
        f"results in {folder}, networks {networks}"
    )
    hydra = HydraConfig.get()
    if is_search(hydra) and hydra.mode != RunMode.MULTIRUN:
        experiment = hydra.runtime.choices.get("experiment")
        option = f"experiment={experiment}" if experiment else "hydra/sweeper=pareto"
        command = f"{typed('run')} -m {option}"
        log.warning("this is a single job; to search, add -m: %s", command)
