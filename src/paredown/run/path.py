"""The path of variants: each computed when it is first asked for, or read from the store."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from paredown import model
from paredown.dataset import Batch, Dataset
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


def _once(make: "Callable[[VariantPath, int], T]") -> "Callable[[VariantPath, int], T]":
    """Make a stage's thing when it is first asked for, and keep it as long as the path.

    `functools.cache` on a bound method would tie the path into a cycle, and a sweep would hold
    the networks of past jobs, 200 MB each, until Python looks for cycles.
    """

    @wraps(make)
    def get(path: "VariantPath", index: int) -> T:
        key = make.__name__, index
        place = path._kept.get(key)
        if key not in path._kept or (isinstance(place, Path) and not place.is_dir()):
            path._kept[key] = make(path, index)
        kept: T = path._kept[key]
        return kept

    return get


class VariantPath:
    """The variants that the prefixes of a stage list make; stage 0 is the baseline.

    Nothing is computed before it is needed: a program that the store has needs no weights, and
    weights that it has need no stage before them.

    Attributes:
        names, stages: Of the variants, in order.
        dataset: Whose `train` split teaches, and whose `val` split judges.
        runtime: Lowers and runs every variant.
        seed: Of the run.
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
        self.names = tuple(stages)
        self.stages = tuple(stages.values())
        self.dataset, self.runtime, self._store, self.seed = dataset, runtime, store, seed
        self._kept: dict[tuple[str, int], Any] = {}
        allow(*code_in(describe(self.stages)))  # whoever laid the path has named it
        other = teacher.stage if teacher else None
        self._baseline_teaches = other is None
        members = teacher.members if teacher else 1
        self._tutors = tuple(  # each at the start of a path of its own, kept like any baseline
            VariantPath({"teacher": other or self.stages[0]}, dataset, runtime, store, seed + at)
            for at in range(self._baseline_teaches, members)
        )
        tutors = [tutor.keys for tutor in self._tutors]
        teaches = self._baseline_teaches
        self.keys: Keys = Keys(self.stages, dataset, runtime, seed, tutors, teaches)

    @_once
    def program(self, index: int) -> Path:
        """Return the folder that holds `program/`, the files that ship, and what was measured."""

        def make(folder: Path) -> None:
            variant = self.variant(index)
            shipped = folder / SHIPPED
            shipped.mkdir()
            lowered = self._lower(variant, index, folder)
            program = self.runtime.load(shipped)
            measured = {
                **quality.accuracy(program, self.dataset, self.dataset.val),
                **lowered,
                **self.facts(index),
                "size_mb": footprint.size_mb(shipped),
                "compressed_mb": footprint.compressed_mb(shipped),
                "zeros": footprint.zeros(variant.module),
                "params": footprint.params(variant.module),
                "macs": footprint.macs(variant.module, self.dataset.input_shape),
            }
            (folder / MEASURED).write_text(json.dumps(measured, indent=1) + "\n")
            layers = footprint.layers(variant.module, self.dataset.input_shape)
            (folder / LAYERS).write_text(json.dumps(layers, indent=1) + "\n")

        about = self._about(index, self.runtime.name)
        return self._get(self.keys.program(index), about, make)

    def _lower(self, variant: Variant, index: int, folder: Path) -> dict[str, float]:
        """Write the files that ship; give the counts of layers and what integers cost."""
        source = self.shipped(index - 1) if self._keeps_weights(index) else None
        shipped = folder / SHIPPED
        if variant.numerics is None:
            converted = self.runtime.lower(variant, self.dataset, shipped, source)
            return {"integer_layers": converted.integer, "layers": converted.layers}
        guarded = guard.lower(
            self.runtime, variant, self.dataset, shipped, source, self.shipped(index - 1)
        )
        (folder / RECIPE).write_text(json.dumps(guarded.describe(), indent=1) + "\n")
        kept = guarded.kept
        counted = {"integer_layers": kept.integer, "layers": kept.layers}
        return {**counted, "drop": kept.drop, "agreement": kept.agreement}

    def _keeps_weights(self, index: int) -> bool:
        """Tell whether a stage gives the network of the stage before, untouched."""
        if self.stages[index].training is not None:
            return False
        return self.variant(index).module is self.variant(index - 1).module

    def is_kept(self, index: int) -> bool:
        """Tell whether the store has the files that ship."""
        return self._store.has(self.keys.program(index))

    def measured(self, index: int) -> dict[str, float]:
        """What was measured on the program, latency aside."""
        found: dict[str, float] = json.loads((self.program(index) / MEASURED).read_text())
        return found

    def layers(self, index: int) -> dict[str, dict[str, int]]:
        """Output channels and MACs of every layer; see `measure.layers`."""
        found: dict[str, dict[str, int]] = json.loads((self.program(index) / LAYERS).read_text())
        return found

    def recipe(self, index: int) -> dict[str, Any] | None:
        """Which recipe of numerics was kept, and all that were tried; None for float32."""
        file = self.program(index) / RECIPE
        return json.loads(file.read_text()) if file.is_file() else None

    def shipped(self, index: int) -> Path:
        """Return the folder with the files that ship, and nothing else."""
        return self.program(index) / SHIPPED

    def files(self, index: int) -> list[tuple[Path, str]]:
        """List the files that ship, each with its sha256."""
        return [(file, sha256_of(file)) for file in sorted(self.shipped(index).iterdir())]

    @property
    def name(self) -> str:
        """What the path is: resnet18-mobilenet_v2-prune0.30-int8."""
        return "-".join(stage.label for stage in self.stages)

    @property
    def image(self) -> Batch:
        """The image that programs are timed on, (1, C, H, W)."""
        return self.dataset.normalize(self.dataset.val.images[:1])

    def weights(self, index: int) -> Path:
        """Return the folder that holds weights, architecture and curves."""

        def make(folder: Path) -> None:
            variant = self._apply(index)
            dataset = self.dataset
            classes, shape = len(dataset.classes), dataset.input_shape
            model.save(variant.module, variant.source, classes, shape, folder)
            (folder / CURVES).write_text(json.dumps(list(variant.curves)) + "\n")
            (folder / FACTS).write_text(json.dumps(dict(variant.facts)) + "\n")

        return self._get(self.keys.weights(index), self._about(index, "weights"), make)

    def _get(self, key: str, about: dict[str, Any], make: Callable[[Path], None]) -> Path:
        """Return an entry of the store that runs no code but what this command names."""
        place = self._store.get(key, about, make)
        require_harmless(place, f"entry {key} of the store")
        return place

    def curves(self, index: int) -> list[dict[str, float]]:
        """What training logged, one mapping an epoch; empty for a stage that fits no weights."""
        if self.stages[index].training is None:
            return []
        found: list[dict[str, float]] = json.loads((self.weights(index) / CURVES).read_text())
        return found

    def facts(self, index: int) -> dict[str, float]:
        """What a stage that fits weights found out besides, such as what a target came to."""
        if self.stages[index].training is None:
            return {}
        found: dict[str, float] = json.loads((self.weights(index) / FACTS).read_text())
        return found

    @_once
    def variant(self, index: int) -> Variant:
        """Read a variant's network from the store, or make it."""
        stage = self.stages[index]
        if stage.training is None:
            return self._apply(index)
        module, source = model.load(self.weights(index), self.keys.source(index))
        asked = stage.numerics
        shape = self.dataset.input_shape
        numerics = None if asked is None else resolved(asked, module, shape)
        return Variant(module, source, numerics)

    def _apply(self, index: int) -> Variant:
        stage = self.stages[index]
        goes_on = index > 0 and stage.source is None
        return stage(self.variant(index - 1) if goes_on else None, self._context(index))

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
        """Begin a stage's training again, and end it after some epochs: a seed gives equal bits."""
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
            name, share = tutor._about(0, "")["path"], row["accuracy"]
            log.info("teacher %s: accuracy %.2f%%", name, 100 * share)
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
