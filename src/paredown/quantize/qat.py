"""Quantization-aware training: a network learns with the rounding that it will ship with."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from paredown.model import layers
from paredown.quantize.static import Static
from paredown.training.recovery import Recovery
from paredown.variant import Context, Numerics, Variant


@dataclass(frozen=True)
class Qat(Recovery):
    """Fine-tune with rounded weights and activations, then lower into integers.

    The forward pass rounds; the backward pass takes the rounding for the identity (the
    straight-through estimator), and stops where a value was clipped. The loss is that of
    distillation, with the baseline as the teacher.

    Source: Jacob et al., 2017, arXiv 1712.05877; the estimator: Bengio, Leonard, Courville,
    Estimating or Propagating Gradients Through Stochastic Neurons, 2013, arXiv 1308.3432.

    Args:
        bits, per_channel, symmetric, range, bias_correction, calibration_images, keep_float,
            max_drop, ladder: As in `Static`; training rounds in the same way.

    How it is fine-tuned stands in `Recovery`.
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
        super().__post_init__()
        _ = self.numerics  # checks every setting of its own

    @property
    def label(self) -> str:
        """Such as int8-qat."""
        return self._static.label.replace(f"int{self.bits}", f"int{self.bits}-qat")

    @property
    def note(self) -> str:
        """Whether the engine computes in other numbers than asked."""
        return self._static.note

    @property
    def numerics(self) -> Numerics:
        """What the runtime is asked for."""
        return replace(self._static.numerics, name=self.label)

    @property
    def _static(self) -> Static:
        return Static(
            self.bits,
            self.per_channel,
            self.symmetric,
            self.range,
            self.bias_correction,
            self.calibration_images,
            self.keep_float,
            self.max_drop,
            self.ladder,
        )

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a copy of the network whose weights are already what the integers can say."""
        from paredown.quantize.fake import rounding

        assert variant is not None
        module = copy.deepcopy(variant.module)
        numerics = self.numerics.resolve(layers(module))
        with rounding(module, numerics):
            curves = self.recover(module, context, self.epochs)
        return replace(variant, module=module, numerics=numerics, curves=curves)
