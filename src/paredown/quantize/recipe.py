"""What the techniques of the stage `quantize` have in common: a recipe, and what if it fails."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from paredown.errors import ConfigError, require, require_one_of
from paredown.runtime import RANGES
from paredown.variant import Numerics

STEPS = {field.name for field in fields(Numerics)} - {"name", "scheme", "max_drop", "fallbacks"}


def recipe(
    name: str, scheme: str, max_drop: float, ladder: Sequence[Mapping[str, Any]], **settings: Any
) -> Numerics:
    """Check a recipe, and make what the runtime is asked for.

    Args:
        name: Such as int8.
        scheme: As in `Numerics`.
        max_drop: Share of accuracy that lowering may cost before the ladder is climbed, [0, 1].
        ladder: Settings that each rung has otherwise.
        settings: Other fields of `Numerics`.

    Raises:
        ConfigError: For a value out of range, or a rung that changes what is no setting.
    """
    require(0 <= max_drop <= 1, "max_drop", "lie in [0, 1], a share of accuracy", max_drop)
    asked = _numerics(name, scheme, settings)
    rungs = []
    for at, rung in enumerate(ladder):
        require(isinstance(rung, Mapping), f"ladder[{at}]", "be a mapping of settings", rung)
        for key in rung:
            require_one_of(STEPS & settings.keys(), f"a setting in ladder[{at}]", key)
        try:
            rungs.append(_numerics(name, scheme, {**settings, **rung}))
        except ConfigError as error:
            raise ConfigError(f"ladder[{at}].{error}") from None
    return replace(asked, max_drop=max_drop, fallbacks=tuple(rungs))


def _numerics(name: str, scheme: str, settings: Mapping[str, Any]) -> Numerics:
    plain = {**settings, "keep_float": _patterns(settings.get("keep_float", ()))}
    found = Numerics(name, scheme, **plain)
    require(2 <= found.bits <= 8, "bits", "be a whole number from 2 to 8", found.bits)
    require_one_of(RANGES, "range", found.range)
    enough = found.calibration_images >= 1
    require(enough, "calibration_images", "be at least 1", found.calibration_images)
    return found


def _patterns(value: object) -> tuple[str, ...]:
    listed = isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
    require(listed, "keep_float", "be a list of layers' names, such as [layer4.*]", value)
    return tuple(value)  # type: ignore[arg-type]


def say(numerics: Numerics, beside: Numerics) -> str:
    """Tell a recipe by the settings that it has otherwise than another one."""
    told = [
        f"{field.name}={_say(getattr(numerics, field.name))}"
        for field in fields(Numerics)
        if field.name in STEPS and getattr(numerics, field.name) != getattr(beside, field.name)
    ]
    return " ".join(told) or "as asked"


def _say(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
