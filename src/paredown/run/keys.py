"""The keys of the store's entries and the seeds of stages, from all that determines a result."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import paredown
from paredown import dataset, distill, model, quantize, runtime, training
from paredown.dataset import Dataset
from paredown.host import machine
from paredown.measure import footprint, meter, quality, statistics
from paredown.run import guard
from paredown.runtime import Runtime
from paredown.store.hashing import code_of, describe, key_of
from paredown.variant import Measures, Stage

if TYPE_CHECKING:
    from paredown.model import ModelSource
    from paredown.training import Training


def version() -> str:
    """Return the version of Paredown and torch; the workers of one sweep must share it."""
    versions = machine.versions("torch", "torchvision", "torch-pruning")
    own = machine.versions("paredown")["paredown"]
    return f"{own}-{key_of(code_of(paredown), versions)[:12]}"


@dataclass(frozen=True, eq=False)
class Keys:
    """Keys and seeds of the stages of a path.

    Args:
        stages: In order; stage 0 is the baseline.
        tutors: The keys of networks that teach besides the baseline, or in its place.
        baseline_teaches: Whether the baseline is a teacher.
    """

    stages: Sequence[Stage]
    dataset: Dataset
    runtime: Runtime
    run_seed: int
    tutors: Sequence["Keys"]
    baseline_teaches: bool
    _resolved: dict[int, list[str]] = field(default_factory=dict)

    def program(self, index: int) -> str:
        """Return the key of a stage's files that ship and of their measurements."""
        making = *packages(self.runtime), runtime, quantize, guard, dataset
        return key_of(
            self.weights(index),
            describe(self.stages[index].numerics),
            describe(self.runtime, key_only=True),
            self.runtime.fingerprint,
            code_of(*making, footprint, quality, statistics),
        )

    def weights(self, index: int) -> str:
        """Return the key of a stage's weights, whether it trains them or not."""
        code = code_of(
            *packages(self.stages[index]),
            *packages(self.source(index)),
            *(training, distill, model, dataset),
        )
        versions = machine.versions("torch", "torchvision", "torch-pruning")
        upstream = [self.weights(index - 1)] if index else []
        tutors = [tutor.weights(0) for tutor in self.tutors] if index else []
        return key_of(self._identity(index), code, versions, upstream, tutors)

    def answers(self, views: int, how: "Training") -> str:
        """Return the key of the teacher's soft targets of the training images."""
        teaching = [self] * self.baseline_teaches + list(self.tutors)
        return key_of(
            [keys.weights(0) for keys in teaching],
            self._resolve(how, [keys.source(0) for keys in teaching]),
            self.dataset.fingerprint,
            views,
            code_of(training, distill, dataset),
        )

    def seed(self, index: int) -> int:
        """Return a stage's seed, the same whether earlier stages were read or made."""
        return int(key_of(self._identity(index))[:8], 16)

    def _identity(self, index: int) -> list[Any]:
        """List all that determines the weights, apart from versions and source code."""
        stage = self.stages[index]
        own = [describe(stage, key_only=True), self._precisions(index)]
        if stage.source is not None:
            own.append(stage.source.fingerprint)
        if isinstance(stage, Measures) and stage.measures:
            code = code_of(*packages(self.runtime), runtime, meter)
            own += [describe(self.runtime), self.runtime.fingerprint, code]
        if index == 0:
            return [*own, self.dataset.fingerprint, self.run_seed]
        taught = [self.baseline_teaches, *(tutor._identity(0) for tutor in self.tutors)]
        return [*own, self._identity(index - 1), taught]

    def _precisions(self, index: int) -> list[str]:
        """List the training precisions of a stage's network and of its teachers."""
        how = self.stages[index].training
        if how is None:
            return []
        if index not in self._resolved:
            sources = [self.source(index)]
            if index:
                sources += [self.source(0)] * self.baseline_teaches
                sources += [tutor.source(0) for tutor in self.tutors]
            self._resolved[index] = self._resolve(how, sources)
        return self._resolved[index]

    def _resolve(self, how: "Training", sources: "list[ModelSource]") -> list[str]:
        from paredown.training.loop import resolve_precision

        form = len(self.dataset.classes), self.dataset.input_shape
        return [resolve_precision(how, model.build_meta(source, *form)) for source in sources]

    def source(self, index: int) -> "ModelSource":
        """Return the node of conf/model that builds a stage's network."""
        source = self.stages[index].source
        return source if source is not None else self.source(index - 1)


def packages(part: Any) -> list[ModuleType]:
    """List the packages of a part's class, of its bases, and of the parts in its fields.

    The whole package counts, so that neighbouring modules are a class's source, too.
    """
    classes = [cls for component in _parts(part) for cls in type(component).__mro__]
    names = dict.fromkeys(cls.__module__ for cls in classes)
    outer = (name for name in names if name.partition(".")[0] not in sys.stdlib_module_names)
    own = dict.fromkeys(name.rpartition(".")[0] or name for name in outer)
    return [import_module(name) for name in own]


def _parts(part: Any) -> Iterator[Any]:
    """Yield a part and those in its fields, at any depth."""
    if is_dataclass(part):
        yield part
        part = [getattr(part, field.name) for field in fields(part)]
    if isinstance(part, Mapping):
        part = list(part.values())
    if isinstance(part, list | tuple):
        for element in part:
            yield from _parts(element)
