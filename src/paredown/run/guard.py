"""Guard against a silent collapse: an int8 file is compared with the float32 file before it."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from paredown.dataset import Dataset
from paredown.errors import RunError
from paredown.measure.quality import answer
from paredown.quantize.recipe import difference
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
class Failed:
    """A recipe that the engine could not carry out.

    Args:
        recipe: Its settings where they are not as asked.
        reason: What the engine says.
    """

    recipe: str
    reason: str


@dataclass(frozen=True)
class Guarded:
    """The file that was kept, and the others that were tried for it.

    Args:
        kept: The recipe of the file that ships.
        tried: All recipes that gave a file, in order.
        failed: Those that gave none.
    """

    kept: Tried
    tried: tuple[Tried, ...]
    failed: tuple[Failed, ...] = ()

    def describe(self) -> dict[str, Any]:
        """The same in plain data."""
        failed = {"failed": [asdict(recipe) for recipe in self.failed]} if self.failed else {}
        tried = [asdict(recipe) for recipe in self.tried]
        return {"kept": self.kept.recipe, "tried": tried, **failed}


def lower(
    runtime: Runtime,
    variant: Variant,
    dataset: Dataset,
    folder: Path,
    source: Path | None,
    before: Path,
) -> Guarded:
    """Lower a variant with numerics; if that costs too much accuracy, by its fallbacks.

    The first recipe that keeps to `max_drop` is taken, or the most accurate of all. One that the
    engine cannot carry out is passed over.

    Args:
        runtime: Lowers and runs.
        variant: Its numerics name the recipe, what it may cost, and the fallbacks.
        dataset: Its val split judges.
        folder: Exists and is empty; gets the files that ship.
        source: The same weights in float32, already lowered, where there are some.
        before: The float32 files of the stage before, which the new ones are compared with.

    Raises:
        RunError: If no recipe gives a file; what the first one failed for.
    """
    asked = variant.numerics
    assert asked is not None
    expected = answer(runtime.load(before), dataset, dataset.val)
    tried: dict[Path, Tried] = {}
    failed: dict[Failed, RunError] = {}
    with tempfile.TemporaryDirectory(prefix="paredown-") as scratch:
        for number, numerics in enumerate(_rungs(runtime, asked)):
            place = Path(scratch) / str(number)
            place.mkdir()
            made, recipe = replace(variant, numerics=numerics), difference(numerics, asked)
            try:
                converted = runtime.lower(made, dataset, place, source)
            except RunError as error:
                failed[Failed(recipe, str(error))] = error
                log.warning("%s (%s) is passed over: %s", asked.name, recipe, error)
                continue
            found = answer(runtime.load(place), dataset, dataset.val)
            tried[place] = _compare(recipe, dataset, expected, found, converted)
            if tried[place].drop <= asked.max_drop:
                break
            log.warning(_collapse(tried[place], asked))
        if not tried:
            raise next(iter(failed.values()))
        kept = min(tried, key=lambda place: tried[place].drop)
        shutil.copytree(kept, folder, dirs_exist_ok=True)
    _tell(asked, tried[kept], len(tried))
    return Guarded(tried[kept], tuple(tried.values()), tuple(failed))


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
