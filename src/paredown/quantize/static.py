"""Static post-training quantization: integer weights and activations, ranges taken beforehand."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from paredown.quantize.recipe import PostTraining, recipe
from paredown.variant import Context, Numerics, Variant


@dataclass(frozen=True)
class StaticQuantization:
    """Settings of integer arithmetic with activation ranges calibrated on training images.

    Args:
        bits: Per weight, 2 to 8; activations have 8. Engines compute in 8: below it, weights are
            rounded to that many bits and lowered in 8, so that the accuracy is real and the size
            is not. Tables call it simulated.
        per_channel: One scale per channel of a weight, rather than one per tensor.
        symmetric: Force activation ranges to be symmetric about 0.
        range: Calibration of activations: minmax, percentile, entropy or mse, where the runtime
            has it.
        bias_correction: Absorb the mean rounding error in the biases, where the runtime can.
        calibration_images: Number of training images for calibration.
        keep_float: Patterns of layers that stay in float32; `first` and `last` mean those layers.
        max_drop: Accuracy that may be lost against the stage before, as a share of 1; if more is
            lost, the ladder is climbed.
        ladder: Recipes to try then, each as the settings that differ.
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
        """Simulated, if the engine computes with more bits."""
        return "" if self.bits == 8 else "simulated"

    @property
    def numerics(self) -> Numerics:
        """The arithmetic it asks the runtime for."""
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
class Static(StaticQuantization, PostTraining):
    """Lower trained weights as they are into integers.

    Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference, 2017, arXiv 1712.05877.
    """

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return the weights, rounded to fewer than 8 bits if so set, to be lowered in integers."""
        from paredown.quantize.weights import rounded

        lowered = super().__call__(variant, context)
        if self.bits == 8 or lowered.numerics is None:
            return lowered
        return replace(lowered, module=rounded(lowered.module, lowered.numerics))
