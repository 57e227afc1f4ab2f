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
from paredown.measure.quality import predict
from paredown.quantize.recipe import difference
from paredown.runtime import Conversion, Logits, Runtime
from paredown.variant import Numerics, Variant

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """A recipe and the file that it gave.

    Args:
        recipe: The settings that differ from the requested ones.
        accuracy: Of the file, on the validation split.
        drop: Accuracy lost against the file before it; below 0 it gained.
        agreement: Share of the validation images that both files classify alike.
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
    """The recipe of the file that ships, and all others that ran.

    Args:
        chosen: Of the file that ships.
        outcomes: All recipes that gave a file, in order.
        failures: Those that gave none: the settings that differ, and the engine's message.
    """

    chosen: Outcome
    outcomes: tuple[Outcome, ...]
    failures: tuple[tuple[str, str], ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return the same as plain data."""
        failed = [{"recipe": recipe, "reason": reason} for recipe, reason in self.failures]
        outcomes = [asdict(outcome) for outcome in self.outcomes]
        content = {"kept": self.chosen.recipe, "tried": outcomes}
        return {**content, "failed": failed} if failed else content


def lower(
    runtime: Runtime,
    variant: Variant,
    dataset: Dataset,
    folder: Path,
    source: Path | None,
    before: Path,
) -> Guarded:
    """Lower a variant with numerics; if that costs too much accuracy, by its fallbacks.

    The first recipe within `max_drop` is chosen, else the most accurate one that the engine runs;
    if none gives a file, the first one's RunError is raised. `folder` gets the files that ship,
    `source` has the same weights in float32, if any, and `before` is what they are compared with.
    """
    requested = variant.numerics
    assert requested is not None
    expected = predict(runtime.load(before), dataset, dataset.val)
    outcomes: dict[Path, Outcome] = {}
    failures: dict[tuple[str, str], RunError] = {}
    with tempfile.TemporaryDirectory(prefix="paredown-") as scratch:
        for number, numerics in enumerate(_recipes(runtime, requested)):
            place, recipe = Path(scratch, str(number)), difference(numerics, requested)
            place.mkdir()
            lowered = replace(variant, numerics=numerics)
            try:
                converted = runtime.lower(lowered, dataset, place, source)
            except RunError as error:
                failures[recipe, str(error)] = error
                log.warning("%s (%s) is skipped: %s", requested.name, recipe, error)
                continue
            logits = predict(runtime.load(place), dataset, dataset.val)
            outcome = outcomes[place] = _compare(recipe, dataset, expected, logits, converted)
            if outcome.drop <= requested.max_drop:
                break
            _warn_of_drop(outcome, requested)
        if not outcomes:
            raise next(iter(failures.values()))
        chosen = min(outcomes, key=lambda place: outcomes[place].drop)
        shutil.copytree(chosen, folder, dirs_exist_ok=True)
    _log_choice(requested, outcomes[chosen], len(outcomes))
    return Guarded(outcomes[chosen], tuple(outcomes.values()), tuple(failures))


def _recipes(runtime: Runtime, requested: Numerics) -> Iterator[Numerics]:
    """Yield the requested numerics, then the fallbacks that the runtime can do."""
    yield requested
    for numerics in requested.fallbacks:
        if numerics != requested and not runtime.abilities.refusal(numerics):
            yield numerics


def _compare(
    recipe: str, dataset: Dataset, expected: Logits, logits: Logits, converted: Conversion
) -> Outcome:
    before, after, labels = expected.argmax(axis=1), logits.argmax(axis=1), dataset.val.labels
    accuracy = float((after == labels).mean())
    drop = float((before == labels).mean()) - accuracy
    return Outcome(recipe, accuracy, drop, float((before == after).mean()), *converted)


def _warn_of_drop(outcome: Outcome, requested: Numerics) -> None:
    log.warning(
        "%s (%s) loses %.2f%% of accuracy, more than quantize.max_drop=%g, and agrees on %.2f%% of "
        "the images",
        *(requested.name, outcome.recipe, 100 * outcome.drop),
        *(requested.max_drop, 100 * outcome.agreement),
    )


def _log_choice(requested: Numerics, chosen: Outcome, count: int) -> None:
    """Log how many layers became integer, and which recipe was chosen."""
    layers = requested.name, chosen.integer, chosen.layers
    if chosen.integer < chosen.layers / 2:
        log.warning(
            "%s converted %d of %d layers; the others stay in float32, and so does most of the "
            "size and of the latency",
            *layers,
        )
    else:
        log.info("%s: %d of %d layers", *layers)
    if count > 1:
        log.log(
            logging.INFO if chosen.drop <= requested.max_drop else logging.WARNING,
            "%s: kept the recipe %s, which loses %.2f points; %d were tried",
            *(requested.name, chosen.recipe, 100 * chosen.drop, count),
        )
