"""The path of variants: each is made when it is first needed, or read from the store."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from paredown import model
from paredown.dataset import Dataset
from paredown.foreign import require_harmless
from paredown.measure import footprint, quality
from paredown.measure.meter import cost_meter
from paredown.quantize.layers import resolved
from paredown.run import cautions, guard
from paredown.run.keys import Keys
from paredown.runtime import Runtime
from paredown.store.hashing import describe, sha256_of
from paredown.store.local import Store
from paredown.trust import allow, code_in
from paredown.variant import Context, Stage, Variant

if TYPE_CHECKING:
    from torch import nn

    from paredown.distill.teacher import Teacher
    from paredown.training import Training
    from paredown.training.loop import BatchSource

log = logging.getLogger(__name__)

T = TypeVar("T")

CURVES, FACTS = "curves.json", "facts.json"
MEASURED, LAYERS = "measured.json", "layers.json"
RECIPE, SHIPPED = "recipe.json", "program"


def _cached(make: "Callable[[VariantPath, int], T]") -> "Callable[[VariantPath, int], T]":
    """Cache a method per stage, as long as the path lives and its files are there.

    `functools.cache` on a bound method would tie the path into a reference cycle, and a sweep would
    hold the networks of past jobs, 200 MB each, until Python collects cycles.
    """

    @wraps(make)
    def get(path: "VariantPath", index: int) -> T:
        key = make.__name__, index
        value = path._cache.get(key)
        if key not in path._cache or (isinstance(value, Path) and not value.is_dir()):
            path._cache[key] = make(path, index)
        result: T = path._cache[key]
        return result

    return get


class VariantPath:
    """The variants that the prefixes of a stage list make; stage 0 is the baseline.

    Nothing is computed before it is needed: a program in the store needs no weights, and weights
    in the store need no earlier stage.

    Attributes:
        names, stages: Of the variants, in order.
        keys: The names of the store's entries, and stages' seeds.
    """

    def __init__(
        self,
        stages: Mapping[str, Stage],
        dataset: Dataset,
        runtime: Runtime,
        store: Store,
        seed: int,
        teacher: "Teacher | None" = None,
    ) -> None:
        self.names, self.stages = tuple(stages), tuple(stages.values())
        self.dataset, self.runtime, self.seed = dataset, runtime, seed
        self._store = store
        self._cache: dict[tuple[str, int], Any] = {}
        allow(*code_in(describe(self.stages)))  # named by whoever made the path
        other = teacher.stage if teacher else None
        self._baseline_teaches = other is None
        members = teacher.members if teacher else 1
        self._tutors = tuple(  # each is the start of a path of its own, stored like any baseline
            VariantPath(
                {"teacher": other or self.stages[0]}, dataset, runtime, store, seed + member
            )
            for member in range(self._baseline_teaches, members)
        )
        tutors = [tutor.keys for tutor in self._tutors]
        self.keys: Keys = Keys(self.stages, dataset, runtime, seed, tutors, self._baseline_teaches)

    @property
    def name(self) -> str:
        """The name of the path, such as resnet18-mobilenet_v2-prune0.30-int8."""
        return "-".join(stage.label for stage in self.stages)

    @_cached
    def program(self, index: int) -> Path:
        """Return the folder that holds `program/`, the files that ship, and their measurements."""

        def make(folder: Path) -> None:
            variant = self.variant(index)
            shipped = folder / SHIPPED
            shipped.mkdir()
            lowered = self._lower(variant, index, folder)
            program = self.runtime.load(shipped)
            shape = self.dataset.input_shape
            measured = {
                **quality.accuracy(program, self.dataset, self.dataset.val),
                **lowered,
                **self.facts(index),
                **footprint.of(shipped, variant.module, shape),
            }
            _write(folder / MEASURED, measured)
            _write(folder / LAYERS, footprint.layers(variant.module, shape))

        about = self._about(index, self.runtime.name)
        return self._get(self.keys.program(index), about, make)

    def _lower(self, variant: Variant, index: int, folder: Path) -> dict[str, float]:
        """Write the files that ship; return the counts of layers and the cost of integers."""
        source = self.shipped(index - 1) if self._keeps_weights(index) else None
        shipped = folder / SHIPPED
        if variant.numerics is None:
            converted = self.runtime.lower(variant, self.dataset, shipped, source)
            return {"integer_layers": converted.integer, "layers": converted.layers}
        before = self.shipped(index - 1)
        guarded = guard.lower(self.runtime, variant, self.dataset, shipped, source, before)
        _write(folder / RECIPE, guarded.describe())
        chosen = guarded.chosen
        counts = {"integer_layers": chosen.integer, "layers": chosen.layers}
        return {**counts, "drop": chosen.drop, "agreement": chosen.agreement}

    def _keeps_weights(self, index: int) -> bool:
        """Check whether a stage passes on the network of the stage before, untouched."""
        if self._trains(index):
            return False
        return self.variant(index).module is self.variant(index - 1).module

    def is_stored(self, index: int) -> bool:
        """Check whether the store has the files that ship."""
        return self._store.has(self.keys.program(index))

    def measured(self, index: int) -> dict[str, float]:
        """Return what was measured on the program, latency aside."""
        return dict(_read(self.program(index) / MEASURED))

    def layers(self, index: int) -> dict[str, dict[str, int]]:
        """Return output channels and MACs of every layer; see `footprint.layers`."""
        return dict(_read(self.program(index) / LAYERS))

    def recipe(self, index: int) -> dict[str, Any] | None:
        """Return the recipe of numerics that was chosen, and all that ran; None for float32."""
        file = self.program(index) / RECIPE
        return _read(file) if file.is_file() else None

    def shipped(self, index: int) -> Path:
        """Return the folder with the files that ship, and nothing else."""
        return self.program(index) / SHIPPED

    def files(self, index: int) -> list[tuple[Path, str]]:
        """List the files that ship, each with its sha256."""
        return [(file, sha256_of(file)) for file in sorted(self.shipped(index).iterdir())]

    def weights(self, index: int) -> Path:
        """Return the folder that holds weights, architecture and curves."""

        def make(folder: Path) -> None:
            variant = self._apply(index)
            classes, shape = len(self.dataset.classes), self.dataset.input_shape
            model.save(variant.module, variant.source, classes, shape, folder)
            (folder / CURVES).write_text(json.dumps(list(variant.curves)) + "\n")
            (folder / FACTS).write_text(json.dumps(dict(variant.facts)) + "\n")

        return self._get(self.keys.weights(index), self._about(index, "weights"), make)

    def _get(self, key: str, about: dict[str, Any], make: Callable[[Path], None]) -> Path:
        """Return an entry of the store that runs no code but what this command names."""
        folder = self._store.get(key, about, make)
        require_harmless(folder, f"entry {key} of the store")
        return folder

    def curves(self, index: int) -> list[dict[str, float]]:
        """Return what training logged, one mapping per epoch; empty without training."""
        return list(_read(self.weights(index) / CURVES)) if self._trains(index) else []

    def facts(self, index: int) -> dict[str, float]:
        """Return further metrics of a stage that trains, such as the cost a target led to."""
        return dict(_read(self.weights(index) / FACTS)) if self._trains(index) else {}

    def _trains(self, index: int) -> bool:
        return self.stages[index].training is not None

    @_cached
    def variant(self, index: int) -> Variant:
        """Read a variant's network from the store, or make it."""
        stage = self.stages[index]
        if stage.training is None:
            return self._apply(index)
        module, source = model.load(self.weights(index), self.keys.source(index))
        numerics = stage.numerics
        if numerics is not None:
            numerics = resolved(numerics, module, self.dataset.input_shape)
        return Variant(module, source, numerics)

    def _apply(self, index: int) -> Variant:
        stage = self.stages[index]
        starts_afresh = index == 0 or stage.source is not None
        return stage(None if starts_afresh else self.variant(index - 1), self._context(index))

    def _context(self, index: int) -> Context:
        return Context(
            self.dataset,
            self.keys.seed(index),
            self._teacher,
            self.names[index],
            early=partial(self._early, index - 1),
            soft_targets=self.soft_targets,
            cost_meter=partial(cost_meter, self.runtime, self.dataset),
        )

    def _early(self, index: int, epochs: int) -> "nn.Module":
        """Repeat the first epochs of a stage's training: one seed gives equal bits."""
        context = replace(self._context(index), stop=epochs)
        return self.stages[index](None, context).module

    def soft_targets(self, views: int, training: "Training") -> "BatchSource":
        """Load the teacher's logits for every training image, computing them once."""
        from paredown.distill import soft_targets

        def make(folder: Path) -> None:
            file = folder / soft_targets.FILE
            soft_targets.precompute(self._teacher(), self.dataset, views, training, file)

        about = {**self._about(0, "answers"), "stage": "teacher"}
        key = self.keys.answers(views, training)
        return soft_targets.load(self.dataset, self._store.get(key, about, make))

    def _teacher(self) -> "nn.Module":
        from paredown.distill.ensemble import Ensemble

        for tutor in self._tutors:
            row: dict[str, Any] = {"stage": "teacher", **tutor.measured(0)}
            log.info("teacher %s: accuracy %.2f%%", tutor.name, 100 * row["accuracy"])
            cautions.warn(cautions.of_quality(row, tutor.stages[0], self.dataset))
        paths = (self,) * self._baseline_teaches + self._tutors
        networks = [path.variant(0).module for path in paths]
        return networks[0] if len(networks) == 1 else Ensemble(networks)

    def _about(self, index: int, kind: str) -> dict[str, Any]:
        return {
            "stage": self.names[index],
            "kind": kind,
            "path": "-".join(stage.label for stage in self.stages[: index + 1]),
            "dataset": self.dataset.name,
            "seed": self.seed,
            "made_of": describe(self.stages[index]),
        }


def _read(file: Path) -> Any:
    return json.loads(file.read_text())


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n")
