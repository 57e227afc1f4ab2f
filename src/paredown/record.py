"""What a job leaves in MLflow: settings, tags, every stage's metrics, layers and files."""

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from paredown import machine
from paredown.config import typed
from paredown.dataset import Dataset
from paredown.describe import describe, hide_passwords
from paredown.path import LAYERS, RECIPE, VariantPath
from paredown.plan import Plan
from paredown.report import markdown
from paredown.results import own_overrides
from paredown.tracking import as_params
from paredown.tracking.run import Run
from paredown.tracking.tracker import COMMAND, JOB, NOTE, STAGES, Tracker

OPTIONAL = ("distill", "prune", "quantize", "student")  # nodes that a run need not use
NODE, VALUE = r"\$\{(\w+)\}", r"\$\{(\w+)\."  # what ${student} and ${distill.alpha} refer to

Row = dict[str, Any]
"""A variant: its stage and its metrics by name."""


def conditions(parts: Plan, dataset: Dataset) -> dict[str, str]:
    """Say what the figures hold for: the data, the machine and the engine."""
    made_by = parts.runtime.fingerprint.items()
    return {
        "dataset": f"{dataset.name} {dataset.fingerprint}",
        "cpu": machine.cpu_name(),
        "int8_instructions": machine.int8_instructions(),
        "runtime": f"{parts.runtime.name}, {parts.runtime.threads} threads",
        "made_by": ", ".join(f"{name} {told}" for name, told in made_by if name != "isa"),
    }


def tags(parts: Plan, dataset: Dataset) -> dict[str, str]:
    """Say what the figures hold for, and what makes them again."""
    trial = parts.tracking.trial
    sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    return {
        **({} if trial is None else {"trial": str(trial)}),
        **({JOB: str(number())} if sweep else {}),
        COMMAND: command(),
        **conditions(parts, dataset),
    }


def number() -> int:
    """Number the job within its sweep."""
    return int(HydraConfig.get().job.num)


def command() -> str:
    """Give the command that does this job alone."""
    own = map(hide_passwords, own_overrides(HydraConfig.get().overrides.task))
    return shlex.join([*typed("run").split(), *own])


def settings(cfg: DictConfig, choices: Mapping[str, Any]) -> dict[str, object]:
    """List what a run logs as params.

    Args:
        cfg: The composed configuration.
        choices: Option by config group, as Hydra knows them.
    """
    chosen = {group: name for group, name in choices.items() if not group.startswith("hydra/")}
    plain = OmegaConf.to_container(cfg)
    assert isinstance(plain, dict)
    left_out = ("tracking", "store", "trust", "hydra")
    nodes = {str(key): node for key, node in plain.items() if key not in left_out}
    return as_params(chosen, nodes)


def group_of(param: str) -> str:
    """Name the top node of the configuration that a param belongs to."""
    return re.split("[./]", param, maxsplit=1)[0]


def unused(cfg: DictConfig, overrides: Iterable[str]) -> set[str]:
    """Name those of `OPTIONAL` that make no difference to a run, and that nobody asked for.

    Args:
        cfg: The composed configuration.
        overrides: That a person typed, or a sweep for them.
    """
    plain = OmegaConf.to_container(cfg)
    assert isinstance(plain, dict)
    texts = {str(key): json.dumps(node) for key, node in plain.items() if key != "hydra"}
    typed = {re.split("[=.]", text, maxsplit=1)[0].rpartition("@")[2] for text in overrides}
    typed = {key.strip("+~").partition("/")[0] for key in typed}

    def names(pattern: str) -> set[str]:
        return {name for key in whole & set(texts) for name in re.findall(pattern, texts[key])}

    whole = (set(texts) - set(OPTIONAL)) | set(cfg.technique.stages)
    while not names(NODE) <= whole:  # such as ${student} in distill
        whole |= names(NODE)
    return set(OPTIONAL) - whole - names(VALUE) - typed


def effective(cfg: DictConfig, parts: Plan) -> DictConfig:
    """Return a configuration with what the data set left open as the run decided it.

    Whoever reads it later, such as `pick.py`, builds no network that could decide it.
    """
    filled = cfg.copy()
    for name, value in describe(parts.dataset).items():
        if name in cfg.dataset and cfg.dataset[name] is None and value is not None:
            OmegaConf.update(filled, f"dataset.{name}", value)
    return filled


def log_settings(cfg: DictConfig, kept: Run) -> None:
    """Log what a person sweeps or compares as params, and keep the whole configuration."""
    hydra = HydraConfig.get()
    params = settings(cfg, hydra.runtime.choices)
    left_out = unused(cfg, own_overrides(hydra.overrides.task))
    kept.log(
        params={name: value for name, value in params.items() if group_of(name) not in left_out}
    )
    kept.log_text(hide_passwords(OmegaConf.to_yaml(cfg, resolve=True)), "config.yaml")


def log_rows(kept: Run, rows: list[Row], eager: Row) -> None:
    """Log every stage's metrics under its name, and the last one's without."""
    metrics = {
        f"eager/{name}": eager[name]
        for name in ("latency_ms", "latency_ms_p95", "runtime_speedup")
        if name in eager
    }
    for row in rows:
        numbers = {name: value for name, value in row.items() if name not in ("stage", "note")}
        metrics |= {f"{row['stage']}/{name}": value for name, value in numbers.items()}
    stages = ",".join(row["stage"] for row in rows)
    notes = {f"{row['stage']}/{NOTE}": row["note"] for row in rows if row["note"]}
    tags = {STAGES: stages, "mlflow.note.content": markdown(rows)}
    kept.log(metrics=metrics | numbers, tags=tags | notes)


def log_details(kept: Run, path: VariantPath) -> None:
    """Keep the layers of every stage, and which recipe of numerics was taken of which."""
    layers = {name: path.layers(index) for index, name in enumerate(path.names)}
    kept.log_text(json.dumps(layers, indent=1), LAYERS)
    for index, name in enumerate(path.names):
        recipe = path.recipe(index)
        if recipe is not None:
            kept.log(tags={f"{name}/recipe": recipe["kept"]})
            kept.log_text(json.dumps(recipe, indent=1), RECIPE)


def keep_files(tracker: Tracker, kept: Run, path: VariantPath) -> None:
    """Keep the last stage's files in this run, and an earlier stage's where no run has them yet."""
    last = len(path.names) - 1
    for index, stage in enumerate(path.names):
        where, digests = [], []
        for file, digest in path.files(index):
            found = None if index == last else tracker.place_of(digest)
            where.append(found or kept.keep(file, stage, digest))
            digests.append(digest)
        kept.log(tags={f"{stage}/file": ",".join(where), f"{stage}/sha256": ",".join(digests)})
