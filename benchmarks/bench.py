"""What the benchmarks share: a run's parts without the run, and a file for what was found."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paredown.config import composed
from paredown.dataset import Dataset
from paredown.host import machine
from paredown.measure.statistics import mean_margin
from paredown.run.path import VariantPath
from paredown.run.plan import Plan, plan
from paredown.store.local import Store

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
ENGINES = ("torch", "torchvision", "torch-pruning", "onnxruntime")


def planned(*overrides: str) -> Plan:
    """Compose and build a run's parts."""
    return plan(composed(*overrides))


def walk(parts: Plan, store: Store, dataset: Dataset | None = None) -> VariantPath:
    """Give the path of a run's variants; the images are loaded if they are not given."""
    images = parts.load() if dataset is None else dataset
    return parts.path(images, store)


def setting(*packages: str) -> dict[str, Any]:
    """Say where figures were measured, and print it."""
    about = {
        "cpu": machine.cpu_name(),
        "int8_instructions": machine.int8_instructions(),
        "cores": os.cpu_count(),
        "versions": machine.versions(*(packages or ENGINES)),
    }
    told = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    print(
        f"{about['cpu']}, {about['int8_instructions']}, {about['cores']} cores; {told}", flush=True
    )
    return about


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Give mean and Student's 95 % interval of it; of one value the interval is that value."""
    mean, margin = mean_margin(values)
    return mean, mean - margin, mean + margin


def keep(name: str, about: Mapping[str, Any], found: Any) -> None:
    """Write results/NAME.json, which is committed and which the README's tables are made of."""
    RESULTS.mkdir(exist_ok=True)
    if "overrides" in about:  # where a store lies is this machine's own affair
        asked = [each for each in about["overrides"] if not each.startswith("store.")]
        about = {**about, "overrides": asked}
    text = json.dumps({**about, "found": found}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
