"""Static post-training quantization: int8 weights and activations, ranges taken beforehand."""

from dataclasses import dataclass, replace
from typing import ClassVar

from paredown.errors import require
from paredown.variant import Context, Numerics, Variant


@dataclass(frozen=True)
class Static:
    """Ask the runtime for integer arithmetic, its ranges calibrated on training images.

    Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference, 2017, arXiv 1712.05877.

    Args:
        bits: Of weights and activations; 8 is what the engines run.
        per_channel: One scale a channel of a weight, rather than one a tensor.
        calibration_images: Training images that the activations' ranges are taken from.
    """

    source: ClassVar[None] = None
    training: ClassVar[None] = None

    bits: int
    per_channel: bool
    calibration_images: int

    def __post_init__(self) -> None:
        require(self.bits == 8, "bits", "be 8", self.bits, "no runtime here runs another width")
        enough = self.calibration_images >= 1
        require(enough, "calibration_images", "be at least 1", self.calibration_images)

    @property
    def label(self) -> str:
        """Such as int8."""
        return f"int{self.bits}"

    @property
    def numerics(self) -> Numerics:
        """What the runtime is asked for."""
        return Numerics(self.label, self.bits, self.per_channel, self.calibration_images)

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return the same weights, to be lowered into integers."""
        assert variant is not None
        return replace(variant, numerics=self.numerics, curves=())
