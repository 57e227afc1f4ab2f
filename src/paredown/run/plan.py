"""The parts of a run, built and checked before any work."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from paredown.budget import Budget
from paredown.config import build_all, check_type
from paredown.dataset import Dataset, DatasetSource
from paredown.dataset.preprocessing import completed
from paredown.distill import check_views
from paredown.distill.teacher import Teacher
from paredown.errors import ConfigError, require, require_one_of, require_seed
from paredown.host.machine import cores_here
from paredown.measure.latency import DEFERRED, Timing
from paredown.measure.meter import cost_meter
from paredown.model import build_meta
from paredown.model.check import require_valid_model
from paredown.model.stated import stated
from paredown.quantize.layers import resolved
from paredown.run.keys import version
from paredown.run.path import VariantPath
from paredown.runtime import Runtime, calibration_batches, require_engine
from paredown.runtime.export import require_exportable
from paredown.store import StoreFolder
from paredown.store.local import Store
from paredown.studies.contract import Comparison, Study
from paredown.tracking import Tracking
from paredown.training import Training
from paredown.trust import MACHINE_CODE, require_allowed
from paredown.variant import Build, Checks, ChecksCheaply, Context, Stage

if TYPE_CHECKING:
    from torch import nn

BASELINE = "baseline"
_check_export = cache(require_exportable)  # once per network
STAGES = "technique.stages"
NEEDED = (BASELINE, "teacher", "dataset", "runtime", "measure", "store", "tracking", "budget")


@dataclass(frozen=True)
class Plan:
    """Every part of a run.

    Args:
        stages: By name, in order; the baseline is first.
        budget: Limits on the file at the end of the path.
        study: Looks into the path once it is measured.
        comparison: Compares a sweep's jobs once they are finished.
        teacher: None: the baseline.
        normalized_by: Where mean and deviation of the images come from, for people.
    """

    seed: int
    dataset: DatasetSource
    stages: dict[str, Stage]
    runtime: Runtime
    timing: Timing
    store: StoreFolder
    tracking: Tracking
    budget: Budget
    study: Study | None = None
    comparison: Comparison | None = None
    teacher: Teacher | None = None
    normalized_by: str = ""

    @property
    def name(self) -> str:
        """The name of the run, such as resnet18-mobilenet_v2-prune0.30-int8."""
        return "-".join(stage.label for stage in self.stages.values())

    @property
    def networks(self) -> dict[str, Stage]:
        """Every stage that may build a network, the teacher's own last."""
        other = self.teacher.stage if self.teacher else None
        return self.stages if other is None else {**self.stages, "teacher": other}

    def path(self, dataset: Dataset, store: Store) -> VariantPath:
        """Return the path of variants; each is made when it is first needed."""
        return VariantPath(self.stages, dataset, self.runtime, store, self.seed, self.teacher)

    @contextmanager
    def open_path(self) -> Iterator[VariantPath]:
        """Load the images and open the store of a path, which reads what the store has."""
        with self.store.open() as store:
            yield self.path(self.load(), store)

    def load(self) -> Dataset:
        """Load the images, and check the stages on them; see `check`."""
        dataset = self.dataset.load()
        self.check(dataset)
        return dataset

    def check(self, dataset: Dataset) -> None:
        """Raise ConfigError for the first stage that cannot work on these images."""
        self._check_cheaply(dataset)
        classes, shape = len(dataset.classes), dataset.input_shape
        network: nn.Module | None = None
        before: Training | None = None
        build: Build | None = None
        if (other := self.teacher.stage if self.teacher else None) is not None:
            require_valid_model(other.source, dataset, other.training)
        for title, stage in self.stages.items():
            if stage.source is not None:
                build = partial(stage.source.build, classes, shape)
                network = require_valid_model(stage.source, dataset, stage.training)
                if self.runtime.standalone is not None:  # eager PyTorch runs anything
                    _check_export(network, shape)
            elif isinstance(stage, Checks):
                assert build is not None, "the baseline builds one"
                stage.check(build, self.context(dataset, title), before)
            before = stage.training
            if stage.numerics is not None:
                assert network is not None, "the baseline builds one"
                resolved(stage.numerics, network, shape)
                calibration_batches(dataset, stage.numerics.calibration_images)
        if self.study is not None and network is not None:
            self.study.check(self.stages, network)

    def _check_cheaply(self, dataset: Dataset) -> None:
        """Refuse by settings and shapes, before any network is built in full."""
        if self.teacher and self.teacher.stage:
            self.teacher.stage.training.check(dataset)
        before: Training | None = None
        build: Build | None = None
        for stage in self.stages.values():
            if stage.training is not None:
                epochs = getattr(stage, "epochs", None)  # of a stage that has its own
                if (stage.training.epochs if epochs is None else epochs) > 0:
                    stage.training.check(dataset)
                check_views(getattr(stage, "views", None), dataset)
            if stage.source is not None:
                build = partial(build_meta, stage.source, len(dataset.classes), dataset.input_shape)
            elif isinstance(stage, ChecksCheaply):
                assert build is not None, "the baseline builds one"
                stage.check_cheaply(build, before)
            before = stage.training

    def context(self, dataset: Dataset, title: str) -> Context:
        """Return the context of a stage where nothing is trained."""
        from torch import nn

        return Context(
            dataset,
            self.seed,
            teacher=nn.Identity,  # never called
            title=title,
            trains=False,
            cost_meter=partial(cost_meter, self.runtime, dataset),
        )


def plan(cfg: DictConfig, build_parts: Callable[..., dict[str, Any]] = build_all) -> Plan:
    """Build every part of the composed configuration; raise ConfigError for the first bad value."""
    check_type("seed", cfg.seed, int)
    require_seed("seed", cfg.seed)
    parts = build_parts(cfg, *NEEDED)
    _require_version(parts["tracking"])
    names = OmegaConf.select(cfg, STAGES)
    require(isinstance(names, ListConfig), STAGES, "be a list, such as [distill,prune]", names)
    stages = _in_order(list(names), parts)
    integers = any(stage.numerics is not None for stage in stages.values())
    require_engine(parts["runtime"], lowers=True, integers=integers)
    _require_cores("runtime.threads", parts["runtime"].threads)
    teacher = parts["teacher"] and parts["teacher"].stage
    builders = [*stages.values(), *filter(None, [teacher])]
    for stage in builders:
        if stage.training is not None:
            _require_cores("training.threads", stage.training.threads)
    sources = [stage.source for stage in builders if stage.source is not None]
    dataset, normalized_by = completed(parts["dataset"], stated(sources))
    _require_consent(parts["runtime"], parts["store"], parts["measure"], parts["tracking"])
    return Plan(
        seed=cfg.seed,
        dataset=dataset,
        stages=stages,
        timing=parts["measure"],
        study=parts.get("study"),
        comparison=parts.get("comparison"),
        normalized_by=normalized_by,
        **{name: parts[name] for name in ("runtime", "store", "tracking", "budget", "teacher")},
    )


def _require_version(tracking: Tracking) -> None:
    """Refuse a job launched by another Paredown, whose keys would differ."""
    here = version() if tracking.version is not None else None
    rule = f"be that of this worker, {here} on {socket.gethostname()}"
    hint = "install the same Paredown and torch on every worker"
    require(tracking.version == here, "tracking.version", rule, tracking.version, hint)


def _require_cores(key: str, threads: int | None) -> None:
    """Refuse more threads than cores."""
    cores = cores_here()
    hint = "more only wait for each other"
    require((threads or 0) <= cores, key, f"be at most {cores}, the cores here", threads, hint)


def _require_consent(
    runtime: Runtime, store: StoreFolder, timing: Timing, tracking: Tracking
) -> None:
    """Refuse machine code that others compiled, unless the user trusts them."""
    shipped = runtime.standalone.files if runtime.standalone else ()
    served = timing.latency == DEFERRED and tracking.uri.startswith("http")
    for name in shipped:
        if Path(name).suffix not in MACHINE_CODE:
            continue
        if store.is_remote:
            require_allowed(name, "store.folder", "be your own where a runtime makes machine code")
        if served:
            rule = "be now where a runtime makes machine code, which a server would give back"
            require_allowed(name, "measure.latency", rule)


def _in_order(names: list[str], parts: dict[str, Any]) -> dict[str, Stage]:
    """Return the stages after the baseline; refuse an order that cannot work."""
    known = {name for name, part in parts.items() if isinstance(part, Stage)} - {BASELINE}
    runtime: Runtime = parts["runtime"]
    stages: dict[str, Stage] = {BASELINE: parts[BASELINE]}
    for name in names:
        require_one_of(known, STAGES, name)
        require(name not in stages, STAGES, "name each stage once", names)
        before, stage = list(stages)[-1], parts[name]
        lowered = stages[before].numerics
        if lowered is not None:
            reason = f"nothing changes a network that is lowered into {lowered.name}"
            raise ConfigError(f"{STAGES} must end with {before}, got {names}; {reason}")
        if stage.source is not None and before != BASELINE:
            reason = f"it trains a fresh network, and what {before} did would be lost"
            raise ConfigError(f"{STAGES} must begin with {name}, got {names}; {reason}")
        if stage.numerics is not None:
            lacks = runtime.abilities.refusal(stage.numerics)
            asks = f"lower what {name} asks for"
            require(not lacks, f"runtime {runtime.name}", asks, stage.numerics.name, lacks)
        stages[name] = stage
    return stages
