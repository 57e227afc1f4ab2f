"""Static post-training quantization: integer weights and activations, ranges taken beforehand."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from paredown.quantize.layers import resolved
from paredown.quantize.recipe import recipe
from paredown.variant import Context, Numerics, Variant


@dataclass(frozen=True)
class Integers:
    """What integer arithmetic is asked of the runtime, its ranges calibrated on training images.

    Args:
        bits: Of a weight, 2 to 8; activations have 8. Engines compute in 8: below it the weights
            are rounded to that many bits and then lowered in 8, so that the accuracy is real and
            the size is not. Tables call it simulated.
        per_channel: One scale a channel of a weight, rather than one a tensor.
        symmetric: Force the activations' ranges to be symmetric about 0.
        range: Of an activation: minmax, percentile, entropy or mse, where the runtime has it.
        bias_correction: Take the mean error of rounding back in the biases, where the runtime
            can.
        calibration_images: Training images that the activations' ranges are taken from.
        keep_float: Patterns of layers that stay in float32; `first` and `last` mean those layers.
        max_drop: Share of accuracy that may be lost against the stage before; if more is, the
            ladder is climbed.
        ladder: Recipes that are tried then, each the settings that it has otherwise.
    """

    source: ClassVar[None] = None

    bits: int
    per_channel: bool
    symmetric: bool
    range: str
    bias_correction: bool
    calibration_images: int
    keep_float: list[str]
    max_drop: float
    ladder: list[Mapping[str, Any]]

    def __post_init__(self) -> None:
        _ = self.numerics  # checks every setting

    @property
    def label(self) -> str:
        """Such as int8."""
        return f"int{self.bits}" + ("-simulated" if self.note else "")

    @property
    def note(self) -> str:
        """Whether the engine computes in other numbers than asked."""
        return "" if self.bits == 8 else "simulated"

    @property
    def numerics(self) -> Numerics:
        """What the runtime is asked for."""
        return recipe(
            self.label,
            "static",
            self.max_drop,
            self.ladder,
            bits=self.bits,
            per_channel=self.per_channel,
            symmetric=self.symmetric,
            range=self.range,
            bias_correction=self.bias_correction,
            calibration_images=self.calibration_images,
            keep_float=self.keep_float,
        )


@dataclass(frozen=True)
class Static(Integers):
    """Lower trained weights as they are into integers.

    Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference, 2017, arXiv 1712.05877.
    """

    training: ClassVar[None] = None

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return the weights, rounded if they get fewer than 8 bits, to be lowered in integers."""
        from paredown.quantize.weights import rounded

        assert variant is not None
        numerics = resolved(self.numerics, variant.module, context.dataset.input_shape)
        module = variant.module if self.bits == 8 else rounded(variant.module, numerics)
        return replace(variant, module=module, numerics=numerics, curves=())
