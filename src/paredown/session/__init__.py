"""Paredown from Python: `python run.py`, one call per stage.

Each call is a prefix of a path of variants: the same settings give the same seeds, files, int8
guard and errors as run.py, and what either of them has computed is read from the store.
"""

import contextlib
import json
import shutil
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.config import CONF, build, composed
from paredown.dataset import Dataset
from paredown.errors import require
from paredown.measure.latency import time_side_by_side
from paredown.model.fresh import require_trained
from paredown.run import cautions
from paredown.run.path import VariantPath
from paredown.run.plan import BASELINE, Plan, plan
from paredown.run.results import Row
from paredown.runtime import Program, Runtime
from paredown.session.command import run_command

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Step:
    """A variant that a session has made.

    Args:
        overrides: The settings of its stages, as `run.py` takes them.
        path: Its last variant is this one.
    """

    overrides: tuple[str, ...]
    path: VariantPath

    @property
    def index(self) -> int:
        """Its place on the path."""
        return len(self.path.names) - 1

    @property
    def module(self) -> "nn.Module":
        """The network, in float32; what ships is `Session.lower`'s."""
        return self.path.variant(self.index).module


class Session:
    """A data set, a runtime and a seed; and a network, if one is handed in.

    Args:
        parts: Overrides as `run.py` takes them, `dataset=digits`, `training.epochs=5`, `seed=1`;
            and before them, optionally, an `nn.Module` and data: a pair (images, labels) of
            arrays, a torch Dataset, or a mapping of "train", "val" and "test" to these. See
            `handover`.

    Raises:
        ConfigError: As `run.py` would refuse; or for a module that its class does not build again.
    """

    def __init__(self, *parts: Any) -> None:
        overrides = [part for part in parts if isinstance(part, str)]
        handed = [part for part in parts if not isinstance(part, str)]
        self._overrides, self._model = _named(handed, overrides)
        self._baseline_epochs: int | None = None
        self._base = tuple(self._model)  # settings of the network that teaches
        self._plan = self._planned([], [])
        self.dataset: Dataset = self._plan.load()
        self.runtime: Runtime = self._plan.runtime
        stack = contextlib.ExitStack()
        self._store = stack.enter_context(self._plan.store.open())
        weakref.finalize(self, stack.close)

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides with which `python run.py` works on the same data and network."""
        return (*self._overrides, *self._model)

    def baseline(self, epochs: int = 0) -> Step:
        """Train the network that was handed in; it teaches all that follow.

        Args:
            epochs: 0: its weights are good.
        """
        require(bool(self._model), "session", "have a network", "none", "Session(model, data)")
        self._baseline_epochs = epochs
        return self._step((), ())

    def train(self, model: str, **settings: object) -> Step:
        """Train a network on the labels; the first one teaches all that follow.

        Args:
            model: An option of conf/model, such as resnet18.
            settings: Of `model`, by name.
        """
        own = (f"model={model}", *_overrides("model", settings))
        self._base = self._base or own
        return self._step(own, ())

    def distill(self, student: str, how: str = "knowledge", **settings: object) -> Step:
        """Train a fresh student on the teacher's soft targets and the labels.

        Args:
            student: An option of conf/model.
            how: An option of conf/distill.
            settings: Of `distill`, such as temperature=4 and alpha=0.7.
        """
        own = (f"model@student={student}", f"distill={how}", *_overrides("distill", settings))
        return self._step((*self._base, *own), ("distill",))

    def prune(self, variant: Step, how: str = "structured", **settings: object) -> Step:
        """Remove channels or weights of a network, and fine-tune it.

        Args:
            variant: Stays as it is.
            how: An option of conf/prune.
            settings: Of `prune`, such as amount=0.5 and epochs=3.
        """
        return self._then(variant, "prune", how, settings)

    def quantize(self, variant: Step, how: str = "static", **settings: object) -> Step:
        """Choose the integers that a network is lowered in; `qat` trains it for them, too.

        Args:
            variant: Stays as it is.
            how: An option of conf/quantize.
            settings: Of `quantize`, such as calibration_images=512.
        """
        return self._then(variant, "quantize", how, settings)

    def lower(self, variant: Step, folder: Path) -> Program:
        """Copy the files that ship into a folder, and load them.

        Returns:
            Maps normalized images (N, C, H, W) to logits (N, classes).
        """
        shutil.copytree(variant.path.shipped(variant.index), folder, dirs_exist_ok=True)
        return self.runtime.load(folder)

    def measure(self, **variants: Step) -> list[Row]:
        """Measure the files of variants: `session.measure(teacher=teacher, small=small)`.

        Returns:
            One row per variant, with its name as `stage`; the speed-up is against the first.
        """
        measured = [variant.path.measured(variant.index) for variant in variants.values()]
        programs = [
            (self.runtime, variant.path.shipped(variant.index)) for variant in variants.values()
        ]
        for name, variant in variants.items():
            self._warn_of_chance(name, variant.path, variant.index)
        timed = time_side_by_side(programs, self.dataset.example, self._plan.timing)
        return [
            {"stage": name, **row, **latency.metrics()}
            for name, row, latency in zip(variants, measured, timed, strict=True)
        ]

    def plot(self, rows: Sequence[Row], file: Path) -> None:
        """Draw quality by size and by latency into a PNG, from the rows of `measure`."""
        from paredown.pictures.rows import rows_picture

        rows_picture(rows, f"{self.dataset.name}, {self.runtime.name}", file)

    def run(self, *overrides: str) -> list[Row]:
        """Do what `python run.py` does, in a process: with the store, MLflow and the table.

        Args:
            overrides: Beside the session's own, such as `technique=prune_quantize`.

        Returns:
            The rows of the table, by stage. `pick.py` finds the run as any other.

        Raises:
            RunError: If the command fails; it has printed why.
        """
        return run_command(self.overrides, overrides)

    def _then(self, variant: Step, stage: str, how: str, settings: Mapping[str, object]) -> Step:
        own = (f"{stage}={how}", *_overrides(stage, settings))
        return self._step((*variant.overrides, *own), (*variant.path.names[1:], stage))

    def _step(self, own: Sequence[str], stages: Sequence[str]) -> Step:
        planned = self._planned(own, stages)
        planned.check(self.dataset)
        require_trained(planned.networks, self.dataset)
        step = Step(tuple(own), planned.path(self.dataset, self._store))
        if stages[-1:] == ("distill",) and "teacher" not in planned.networks:
            self._warn_of_chance(BASELINE, step.path, 0)  # a teacher that knows nothing
        step.path.variant(step.index)
        return step

    def _warn_of_chance(self, name: str, path: VariantPath, index: int) -> None:
        """Warn of a variant that is near chance level."""
        row = {"stage": name, **path.measured(index)}
        cautions.warn(cautions.of_quality(row, path.stages[index], self.dataset))

    def _planned(self, own: Sequence[str], stages: Sequence[str]) -> Plan:
        """Build the plan of a run with these settings and stages."""
        network = [] if any(text.startswith("model=") for text in own) else self._base
        path = f"technique.stages=[{','.join(stages)}]"
        planned = plan(composed(*self._overrides, *network, *own, path))
        if self._baseline_epochs is None:
            return planned
        baseline: Any = planned.stages[BASELINE]
        training = replace(baseline.training, epochs=self._baseline_epochs)
        stages_by_name = {**planned.stages, BASELINE: replace(baseline, training=training)}
        return replace(planned, stages=stages_by_name)


def _named(handed: Sequence[Any], overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the overrides of a session's data, and those of its network."""
    from torch import nn

    from paredown.session.handover import data_overrides, model_overrides

    modules = [part for part in handed if isinstance(part, nn.Module)]
    data = [part for part in handed if not isinstance(part, nn.Module)]
    rule = "take a network and data, at most one of each, and overrides"
    kinds = [type(part).__name__ for part in handed]
    require(len(modules) <= 1 and len(data) <= 1, "Session", rule, kinds)
    plain = [text for text in overrides if "=" not in text]
    hint = "session.train builds a network by its name"
    require(not plain, "Session", "take overrides as KEY=VALUE", plain, hint)
    own = [*(data_overrides(data[0]) if data else []), *overrides]
    if not modules:
        return own, []
    dataset = build(composed(*own), "dataset").load()
    return own, model_overrides(modules[0], len(dataset.classes), dataset.input_shape)


def _overrides(group: str, settings: Mapping[str, object]) -> list[str]:
    """Write settings as overrides; an unknown name is refused by the part itself."""
    texts = []
    for name, value in settings.items():
        key = f"{group}.{name}"
        if isinstance(value, Mapping):
            texts += _overrides(key, value)
        elif isinstance(value, str) and (CONF / group / name).is_dir():
            texts.append(f"{group}/{name}={value}")  # criterion="taylor"
        else:
            texts.append(f"++{key}={value if isinstance(value, str) else json.dumps(value)}")
    return texts
