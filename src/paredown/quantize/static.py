"""Static post-training quantization: integer weights and activations, ranges taken beforehand."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from paredown.quantize.recipe import PostTraining, Quantization
from paredown.variant import Context, Variant


@dataclass(frozen=True)
class StaticQuantization(Quantization):
    """Settings of integer arithmetic with activation ranges calibrated on training images.

    Args:
        bits: Per weight, 2 to 8; activations have 8. Engines compute in 8: below it, weights are
            rounded to that many bits and lowered in 8, so that the accuracy is real and the size
            is not. Tables call it simulated.
        per_channel, symmetric, range, bias_correction, calibration_images, keep_float: As in
            `Numerics`, where the runtime has them.
        max_drop: Accuracy that may be lost against the stage before, as a share of 1; if more is
            lost, the ladder is climbed.
        ladder: Recipes to try then, each as the settings that differ.
    """

    scheme: ClassVar[str] = "static"

    bits: int
    per_channel: bool
    symmetric: bool
    range: str
    bias_correction: bool
    calibration_images: int
    keep_float: list[str]
    max_drop: float
    ladder: list[Mapping[str, Any]]

    @property
    def label(self) -> str:
        """Such as int8."""
        return f"int{self.bits}" + ("-simulated" if self.note else "")

    @property
    def note(self) -> str:
        """Simulated, if the engine computes with more bits."""
        return "" if self.bits == 8 else "simulated"


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
