"""What a job logs in MLflow: settings, tags, metrics of every stage, layers and files."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from paredown.config import parts_of, typed
from paredown.dataset import Dataset
from paredown.host import machine
from paredown.printable import hide_passwords
from paredown.report import markdown
from paredown.run.path import LAYERS, RECIPE, VariantPath
from paredown.run.plan import BASELINE, NEEDED, Plan
from paredown.run.results import Row, own_overrides, rounded, where_line
from paredown.store.hashing import describe
from paredown.tracking import as_params
from paredown.tracking.run import Run
from paredown.tracking.tags import COMMAND, JOB, NOTE, STAGES
from paredown.tracking.tracker import Tracker

OPTIONAL = ("distill", "prune", "quantize", "student")  # nodes that a run need not use
ALWAYS = ("model", "training", "study", "comparison")  # parts that are no stage, beside NEEDED
NODE, VALUE = r"\$\{(\w+)\}", r"\$\{([\w.]+\.\w+)\}"  # ${student}, and ${distill.alpha}


def conditions(plan: Plan, dataset: Dataset) -> dict[str, str]:
    """Return the conditions of the figures: the data, the machine and the engine."""
    made_by = plan.runtime.fingerprint.items()
    return {
        "dataset": f"{dataset.name} {dataset.fingerprint}",
        "cpu": machine.cpu_name(),
        "int8_instructions": machine.int8_instructions(),
        "runtime": f"{plan.runtime.name}, {plan.runtime.threads} threads",
        "made_by": ", ".join(f"{name} {_plain(text)}" for name, text in made_by if name != "isa"),
    }


def _plain(text: str) -> str:
    """Write a tuple plainly: ('QUInt8', 'QInt8') is QUInt8/QInt8."""
    return "/".join(re.findall(r"[\w.]+", text)) if text.startswith("(") else text


def where(plan: Plan, dataset: Dataset) -> str:
    """Return the line below a table on machine and runtime."""
    return where_line(conditions(plan, dataset))


def tags(plan: Plan, dataset: Dataset) -> dict[str, str]:
    """Return a run's tags: the conditions of its figures, and the command that repeats it."""
    trial = plan.tracking.trial
    sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    return {
        **({} if trial is None else {"trial": str(trial)}),
        **({JOB: str(number())} if sweep else {}),
        COMMAND: command(),
        **conditions(plan, dataset),
    }


def number() -> int:
    """Return the job's number within its sweep."""
    return int(HydraConfig.get().job.num)


def command() -> str:
    """Return the command that does this job alone."""
    own = map(hide_passwords, own_overrides(HydraConfig.get().overrides.task))
    return shlex.join([*typed("run").split(), *own])


def settings(cfg: DictConfig, choices: Mapping[str, Any]) -> dict[str, object]:
    """List a run's params: the options that were chosen, by config group, and all settings."""
    chosen = {group: name for group, name in choices.items() if not group.startswith("hydra/")}
    plain = OmegaConf.to_container(cfg)
    assert isinstance(plain, dict)
    left_out = ("tracking", "store", "trust", "hydra")
    nodes = {str(key): node for key, node in plain.items() if key not in left_out}
    return as_params(chosen, nodes)


def group_of(param: str) -> str:
    """Name the top node of the configuration that a param belongs to."""
    return re.split("[./]", param, maxsplit=1)[0]


def used(params: Mapping[str, object], cfg: DictConfig) -> dict[str, object]:
    """Select the params that make a difference: those of the stages and of what they refer to.

    They refer to whole nodes, or to single values such as distill.alpha, which fine-tuning reads.
    """
    plain = OmegaConf.to_container(cfg)
    assert isinstance(plain, dict)
    texts = {str(key): json.dumps(node) for key, node in plain.items() if key != "hydra"}
    nodes = (set(texts) - optional(cfg)) | set(cfg.technique.stages)

    def names(pattern: str) -> set[str]:
        return {name for key in nodes & set(texts) for name in re.findall(pattern, texts[key])}

    while not names(NODE) <= nodes:  # such as ${student} in distill
        nodes |= names(NODE)
    values = names(VALUE)
    return {name: params[name] for name in params if group_of(name) in nodes or name in values}


def optional(cfg: DictConfig) -> set[str]:
    """Return the top nodes that a run need not use: options of groups, and an experiment's own."""
    return set(OPTIONAL) | (set(parts_of(cfg)) - {*NEEDED, *ALWAYS})


def effective(cfg: DictConfig, plan: Plan) -> DictConfig:
    """Return the configuration with the run's own choice of the data set's open values.

    Later readers, such as `pick.py`, then need no network to choose them.
    """
    filled = cfg.copy()
    for name, value in describe(plan.dataset).items():
        if name in cfg.dataset and cfg.dataset[name] is None and value is not None:
            OmegaConf.update(filled, f"dataset.{name}", value)
    return filled


def log_settings(cfg: DictConfig, run: Run) -> None:
    """Log the settings that make a difference as params, and the whole configuration."""
    hydra = HydraConfig.get()
    run.log(params=used(settings(cfg, hydra.runtime.choices), cfg))
    run.log_text(hide_passwords(OmegaConf.to_yaml(cfg, resolve=True)), "config.yaml")


def log_rows(run: Run, rows: list[Row], eager: Row, baseline: str) -> None:
    """Log every stage's metrics under its name, and the last one's without, rounded.

    `eager` is the baseline in eager PyTorch, if timed; `baseline` the network of the speed-ups.
    """
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
    against = f"{baseline}, {rows[0]['size_mb']:.3g} MB"  # one name may have several widths
    tags = {STAGES: stages, BASELINE: against, "mlflow.note.content": markdown(rows)}
    run.log(metrics=metrics | rounded(numbers), tags=tags | notes)


def log_details(run: Run, path: VariantPath) -> None:
    """Log the layers of every stage, and the recipe of its numerics."""
    layers = {name: path.layers(index) for index, name in enumerate(path.names)}
    run.log_text(json.dumps(layers, indent=1), LAYERS)
    for index, name in enumerate(path.names):
        recipe = path.recipe(index)
        if recipe is not None:
            run.log(tags={f"{name}/recipe": recipe["kept"]})
            run.log_text(json.dumps(recipe, indent=1), RECIPE)


def keep_files(tracker: Tracker, run: Run, path: VariantPath) -> None:
    """Keep the last stage's files, and those of earlier stages that no run has yet."""
    last = len(path.names) - 1
    for index, stage in enumerate(path.names):
        where, digests = [], []
        for file, digest in path.files(index):
            place = None if index == last else tracker.place_of(digest)
            where.append(place or run.keep(file, stage, digest))
            digests.append(digest)
        run.log(tags={f"{stage}/file": ",".join(where), f"{stage}/sha256": ",".join(digests)})
