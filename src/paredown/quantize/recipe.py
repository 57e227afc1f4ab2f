"""Recipes: the numerics that a technique asks for, and the ladder of fallbacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from paredown.errors import ConfigError, require, require_one_of
from paredown.quantize.layers import resolved
from paredown.runtime import RANGES
from paredown.variant import Context, Numerics, Variant

SETTINGS = {field.name for field in fields(Numerics)} - {"name", "scheme", "max_drop", "fallbacks"}


@dataclass(frozen=True)
class Quantization:
    """A technique whose fields are settings of `Numerics`."""

    source: ClassVar[None] = None
    scheme: ClassVar[str]

    def __post_init__(self) -> None:
        _ = self.numerics  # checks every setting

    @property
    def numerics(self) -> Numerics:
        """The arithmetic it asks the runtime for."""
        stage: Any = self
        settings = {name: getattr(self, name) for name in SETTINGS if hasattr(self, name)}
        ladder = getattr(self, "ladder", ())
        return recipe(stage.label, self.scheme, getattr(self, "max_drop", 1.0), ladder, **settings)


@dataclass(frozen=True)
class PostTraining(Quantization):
    """A technique that lowers trained weights without training them."""

    training: ClassVar[None] = None

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return the same weights with the numerics in which to lower them."""
        assert variant is not None
        numerics = resolved(self.numerics, variant.module, context.dataset.input_shape)
        return replace(variant, numerics=numerics, curves=())


def recipe(
    name: str, scheme: str, max_drop: float, ladder: Sequence[Mapping[str, Any]], **settings: Any
) -> Numerics:
    """Return numerics with the rungs of the ladder, as settings that differ, for fallbacks.

    Raises ConfigError for a value out of range, or a rung with an unknown setting.
    """
    require(0 <= max_drop <= 1, "max_drop", "lie in [0, 1], a share of accuracy", max_drop)
    first = _numerics(name, scheme, settings)
    rungs = []
    for index, rung in enumerate(ladder):
        require(isinstance(rung, Mapping), f"ladder[{index}]", "be a mapping of settings", rung)
        for key in rung:
            require_one_of(SETTINGS & settings.keys(), f"a setting in ladder[{index}]", key)
        try:
            rungs.append(_numerics(name, scheme, {**settings, **rung}))
        except ConfigError as error:
            raise ConfigError(f"ladder[{index}].{error}") from None
    return replace(first, max_drop=max_drop, fallbacks=tuple(rungs))


def _numerics(name: str, scheme: str, settings: Mapping[str, Any]) -> Numerics:
    patterns = settings.get("keep_float", ())
    listed = isinstance(patterns, list | tuple) and all(isinstance(name, str) for name in patterns)
    require(listed, "keep_float", "be a list of layers' names, such as [layer4.*]", patterns)
    numerics = Numerics(name, scheme, **{**settings, "keep_float": tuple(patterns)})
    require(2 <= numerics.bits <= 8, "bits", "be a whole number from 2 to 8", numerics.bits)
    require_one_of(RANGES, "range", numerics.range)
    images = numerics.calibration_images
    require(images >= 1, "calibration_images", "be at least 1", images)
    return numerics


def difference(numerics: Numerics, reference: Numerics) -> str:
    """Return the settings in which a recipe differs from a reference, as text."""
    changes = [
        f"{field.name}={_text(getattr(numerics, field.name))}"
        for field in fields(Numerics)
        if field.name in SETTINGS
        and getattr(numerics, field.name) != getattr(reference, field.name)
    ]
    return " ".join(changes) or "as asked"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
