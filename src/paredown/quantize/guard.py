"""Guard against a silent collapse: an int8 file is compared with the float32 file before it."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from paredown.dataset import Dataset
from paredown.measure import answer
from paredown.quantize.recipe import say
from paredown.runtime import Conversion, Logits, Runtime
from paredown.variant import Numerics, Variant

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tried:
    """What a recipe came to.

    Args:
        recipe: Its settings where they are not as asked.
        accuracy: Share of the validation images that the file names rightly.
        drop: How much less that is than the file before it; below 0 it is more.
        agreement: Share of the validation images that both files name alike.
        integer, layers: Layers that became integer, of those that hold weights.
    """

    recipe: str
    accuracy: float
    drop: float
    agreement: float
    integer: int
    layers: int


@dataclass(frozen=True)
class Guarded:
    """The file that was kept, and the others that were tried for it.

    Args:
        kept: The recipe of the file that ships.
        tried: All recipes, in order.
    """

    kept: Tried
    tried: tuple[Tried, ...]

    def describe(self) -> dict[str, Any]:
        """The same in plain data."""
        return {"kept": self.kept.recipe, "tried": [asdict(each) for each in self.tried]}


def lower(
    runtime: Runtime,
    variant: Variant,
    dataset: Dataset,
    folder: Path,
    source: Path | None,
    before: Path,
) -> Guarded:
    """Lower a variant with numerics; if that costs too much accuracy, by its fallbacks.

    The first recipe that keeps to `max_drop` is taken, or the most accurate of all.

    Args:
        runtime: Lowers and runs.
        variant: Its numerics name the recipe, what it may cost, and the fallbacks.
        dataset: Its val split judges.
        folder: Exists and is empty; gets the files that ship.
        source: The same weights in float32, already lowered, where there are some.
        before: The float32 files of the stage before, which the new ones are compared with.
    """
    asked = variant.numerics
    assert asked is not None
    expected = answer(runtime.load(before), dataset, dataset.val)
    tried: list[Tried] = []
    with tempfile.TemporaryDirectory(prefix="paredown-") as scratch:
        for number, numerics in enumerate(_rungs(runtime, asked)):
            place = Path(scratch) / str(number)
            place.mkdir()
            made = replace(variant, numerics=numerics)
            converted = runtime.lower(made, dataset, place, source)
            found = answer(runtime.load(place), dataset, dataset.val)
            tried.append(_compare(say(numerics, asked), dataset, expected, found, converted))
            if tried[-1].drop <= asked.max_drop:
                break
            log.warning(_collapse(tried[-1], asked))
        kept = min(tried, key=lambda each: each.drop)
        shutil.copytree(Path(scratch) / str(tried.index(kept)), folder, dirs_exist_ok=True)
    _tell(asked, kept, len(tried))
    return Guarded(kept, tuple(tried))


def _rungs(runtime: Runtime, asked: Numerics) -> Iterator[Numerics]:
    """Give the recipe that was asked for, then the fallbacks that the runtime can do."""
    yield asked
    for numerics in asked.fallbacks:
        if numerics != asked and not runtime.abilities.refusal(numerics):
            yield numerics


def _compare(
    recipe: str, dataset: Dataset, expected: Logits, found: Logits, converted: Conversion
) -> Tried:
    before, after = expected.argmax(axis=1), found.argmax(axis=1)
    right = float((after == dataset.val.labels).mean())
    return Tried(
        recipe=recipe,
        accuracy=right,
        drop=float((before == dataset.val.labels).mean()) - right,
        agreement=float((before == after).mean()),
        integer=converted.integer,
        layers=converted.layers,
    )


def _collapse(tried: Tried, asked: Numerics) -> str:
    return (
        f"{asked.name} ({tried.recipe}) loses {tried.drop:.2%} of accuracy, more than "
        f"quantize.max_drop={asked.max_drop:g}, and agrees on {tried.agreement:.2%} of the images"
    )


def _tell(asked: Numerics, kept: Tried, count: int) -> None:
    """Say what became integer, and which recipe was kept."""
    if kept.integer < kept.layers / 2:
        log.warning(
            "%s converted %d of %d layers; the others stay in float32, and so does most of the "
            "size and of the latency",
            asked.name,
            kept.integer,
            kept.layers,
        )
    else:
        log.info("%s: %d of %d layers", asked.name, kept.integer, kept.layers)
    if count > 1:
        level = logging.INFO if kept.drop <= asked.max_drop else logging.WARNING
        log.log(
            level,
            "%s: kept the recipe %s, which loses %.2f points; %d were tried",
            asked.name,
            kept.recipe,
            100 * kept.drop,
            count,
        )
