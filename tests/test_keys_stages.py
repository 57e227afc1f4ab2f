"""Every field of every stage is in its keys: those of conf/, and those that others write."""

import copy
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from paredown.config import CONF, build, composed
from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.model.cnn4 import Cnn4
from paredown.run.keys import Keys, packages, version
from paredown.run.path import VariantPath
from paredown.runtime.onnxruntime import OnnxRuntime
from paredown.store.hashing import code_of
from paredown.store.local import Store
from paredown.training import Training
from paredown.training.baseline import Baseline
from paredown.variant import Context, Numerics, Stage, Variant

GROUPS = ("distill", "prune", "quantize")
OPTIONS = [
    (group, option.stem) for group in GROUPS for option in sorted((CONF / group).glob("*.yaml"))
]
NAMES = ("cosine", "bfloat16", "mse", "global", "local", "float32", "50%", "DEFAULT", "other")


@dataclass(frozen=True)
class Clipped:
    """Changes weights, trains nothing, stays in float32."""

    source: ClassVar[None] = None
    training: ClassVar[None] = None
    numerics: ClassVar[None] = None
    note: ClassVar[str] = ""
    label: ClassVar[str] = "clipped"

    limit: float

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        return replace(variant, module=clipped(variant.module, self.limit))


@dataclass(frozen=True)
class Equalize:
    """Changes weights, trains nothing, and asks for int8."""

    source: ClassVar[None] = None
    training: ClassVar[None] = None
    note: ClassVar[str] = ""
    label: ClassVar[str] = "equalized"
    numerics: ClassVar[Numerics] = Numerics("int8", calibration_images=16)

    strength: float

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        module = clipped(variant.module, self.strength)
        return replace(variant, module=module, numerics=self.numerics)


@dataclass(frozen=True)
class Step:
    """A part of a part."""

    rate: float
    threads: int = field(default=1, metadata={"key": False})


@dataclass(frozen=True)
class Scheduled:
    """Has parts in a list and in a dictionary."""

    source: ClassVar[None] = None
    training: ClassVar[None] = None
    numerics: ClassVar[None] = None
    note: ClassVar[str] = ""
    label: ClassVar[str] = "scheduled"

    steps: tuple[Step, ...]
    named: dict[str, Step]

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        return variant


def clipped(module: Any, limit: float) -> Any:
    module = copy.deepcopy(module)
    for weight in module.parameters():
        weight.data.clamp_(-limit, limit)
    return module


def keys(dataset: Dataset, training: Training, stage: Stage) -> Keys:
    stages = [Baseline(Cnn4(8, "large"), training), stage]
    return Keys(stages, dataset, OnnxRuntime(1, "onnxruntime"), 0, [], True)


def pair(dataset: Dataset, training: Training, stage: Stage) -> tuple[str, str]:
    found = keys(dataset, training, stage)
    return found.weights(1), found.program(1)


def others(value: Any) -> list[Any]:
    """List values that a field could have instead."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value / 2 + 0.013, value // 2]
    if isinstance(value, str):
        return [name for name in NAMES if name != value]
    if isinstance(value, dict):
        return [{**value, "other": 1}]
    if isinstance(value, list | tuple):
        return [type(value)(["first"]), type(value)([{"range": "mse"}])]
    return [0.5, 1, *NAMES]  # None


def changed(part: Any) -> Iterator[tuple[str, Any]]:
    """Change each field that determines something, one at a time; name it."""
    for each in fields(part):
        value = getattr(part, each.name)
        if each.metadata.get("key") is False:
            continue
        if is_dataclass(value):
            for name, inner in changed(value):
                yield f"{each.name}.{name}", first_taken(part, each.name, [inner])
            continue
        yield each.name, first_taken(part, each.name, others(value))


def first_taken(part: Any, name: str, values: list[Any]) -> Any:
    beside = [{}, {"amount": None}, {"amount": None, "target": None}, {"range": "minmax"}]
    for value in values:
        for more in beside:
            known = {each.name for each in fields(part)} - {name}
            try:
                return replace(
                    part, **{name: value}, **{k: v for k, v in more.items() if k in known}
                )
            except (ConfigError, TypeError, AttributeError):
                continue
    raise AssertionError(f"say what else {type(part).__name__}.{name} can be")


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=lambda name: name)
def test_every_field_of_a_stage_in_conf_moves_its_keys(
    group: str, option: str, few: Dataset, training: Training
) -> None:
    cfg = composed("model=cnn4", "model@student=cnn4", f"{group}={option}")
    stage = build(cfg, group)
    before, names = pair(few, training, stage), []
    for name, other in changed(stage):
        after = pair(few, training, other)
        assert all(one != two for one, two in zip(before, after, strict=True)), name
        names.append(name)
    assert names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Clipped(0.02), Clipped(0.9)),
        (Equalize(0.02), Equalize(0.9)),
        (Scheduled((Step(0.1),), {}), Scheduled((Step(0.2),), {})),
        (Scheduled((), {"a": Step(0.1)}), Scheduled((), {"a": Step(0.2)})),
    ],
)
def test_every_field_of_a_stage_that_others_wrote_moves_its_keys(
    one: Stage, other: Stage, few: Dataset, training: Training
) -> None:
    before, after = pair(few, training, one), pair(few, training, other)
    assert before == pair(few, training, copy.deepcopy(one))
    assert all(key != again for key, again in zip(before, after, strict=True))


def test_a_field_that_changes_nothing_moves_no_key(few: Dataset, training: Training) -> None:
    one, other = (Scheduled((Step(0.1, threads),), {}) for threads in (1, 2))
    assert pair(few, training, one) == pair(few, training, other)


TECHNIQUE = """
from dataclasses import dataclass
from typing import ClassVar
from elsewhere.base import Base

@dataclass(frozen=True)
class Mine(Base):
    label: ClassVar[str] = "mine"
    amount: float
"""
BASE = """
class Base:
    source = training = numerics = None
    note = ""
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write a technique in a package of somebody's, over a base class in another one."""
    for package in ("my_package/technique/nested", "elsewhere"):
        (tmp_path / package).mkdir(parents=True)
    (tmp_path / "my_package/technique/mine.py").write_text(TECHNIQUE)
    (tmp_path / "my_package/technique/beside.py").write_text("")
    (tmp_path / "my_package/technique/nested/deep.py").write_text("")
    (tmp_path / "elsewhere/base.py").write_text(BASE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("my_package", "elsewhere"))]:
        del sys.modules[name]


@pytest.mark.parametrize("file", ["mine.py", "beside.py", "nested/deep.py", "elsewhere/base.py"])
def test_the_package_of_a_stage_and_of_what_it_inherits_from_count(
    mine: Path, file: str, few: Dataset, training: Training
) -> None:
    from importlib import import_module

    stage = import_module("my_package.technique.mine").Mine(0.5)
    code_of.cache_clear()
    before = pair(few, training, stage)
    place = mine if file.startswith("elsewhere") else mine / "my_package/technique"
    (place / file).write_text((place / file).read_text() + "# mended\n")
    code_of.cache_clear()
    after = pair(few, training, stage)
    assert all(one != two for one, two in zip(before, after, strict=True))


@pytest.mark.parametrize(
    "name", ["measure.footprint", "measure.quality", "measure.statistics", "run.guard"]
)
def test_the_code_that_chooses_and_judges_files_counts_in_their_keys_alone(
    name: str, few: Dataset, training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[f"paredown.{name}"]
    code_of.cache_clear()
    before = pair(few, training, Clipped(0.5))
    mended = tmp_path / "mended.py"
    mended.write_text(Path(module.__file__).read_text() + "# mended\n")
    monkeypatch.setattr(module, "__file__", str(mended))
    code_of.cache_clear()
    after = pair(few, training, Clipped(0.5))
    code_of.cache_clear()
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_the_version_sees_every_module_of_paredown_nested_ones_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    import paredown

    copied = tmp_path / "paredown"
    shutil.copytree(Path(paredown.__file__).parent, copied)
    monkeypatch.setattr(paredown, "__path__", [str(copied)])
    found = set()
    for file in (None, "runtime/onnxruntime/quantize.py", "prune/criterion/magnitude.py"):
        if file is not None:
            (copied / file).write_text((copied / file).read_text() + "# mended\n")
        code_of.cache_clear()
        found.add(version())
    code_of.cache_clear()
    assert len(found) == 3


def test_a_stage_that_was_typed_in_and_lies_in_no_file_is_refused() -> None:
    space: dict[str, Any] = {"__name__": "typed_in"}
    exec("from dataclasses import dataclass\n@dataclass\nclass Mine:\n    amount: float", space)
    with pytest.raises(ModuleNotFoundError):
        packages(space["Mine"](0.5))


def test_a_stage_that_changes_weights_for_int8_without_training_has_files_of_its_own(
    few: Dataset, training: Training, tmp_path: Path
) -> None:
    images = few.normalize(few.val.images[:4])
    logits = []
    for strength in (0.02, 0.9):
        stages: dict[str, Stage] = {
            "baseline": Baseline(Cnn4(4, "small"), training),
            "equalize": Equalize(strength),
        }
        runtime = OnnxRuntime(1, "onnxruntime")
        path = VariantPath(stages, few, runtime, Store(tmp_path), 0)
        logits.append(runtime.load(path.shipped(1))(images))
    assert not np.allclose(*logits)
    assert len(list(tmp_path.glob("*/model.safetensors"))) == 1  # the baseline, trained once
