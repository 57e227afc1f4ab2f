"""Quantization-aware training: a network learns with the rounding that it will ship with."""

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from paredown.model import on_meta_device
from paredown.quantize.layers import resolved
from paredown.quantize.static import Integers
from paredown.quantize.weights import require_plain
from paredown.training.recovery import Recovery
from paredown.variant import Build, Context, Variant

if TYPE_CHECKING:
    from paredown.training import Training


@dataclass(frozen=True)
class Qat(Recovery, Integers):
    """Fine-tune with rounded weights and activations, then lower into integers.

    The forward pass rounds; the backward pass takes the rounding for the identity (the
    straight-through estimator), and stops where a value was clipped. The loss is that of
    distillation, with the baseline as the teacher.

    Source: Jacob et al., 2017, arXiv 1712.05877; the estimator: Bengio, Leonard, Courville,
    Estimating or Propagating Gradients Through Stochastic Neurons, 2013, arXiv 1308.3432.

    How it is fine-tuned stands in `Recovery`, and what for in `Integers`.
    """

    def __post_init__(self) -> None:
        Recovery.__post_init__(self)
        Integers.__post_init__(self)

    def check(self, build: Build, context: Context, before: "Training | None") -> None:
        """Refuse a network whose layers cannot be trained with rounding; see `require_plain`."""
        require_plain(on_meta_device(build))

    @property
    def label(self) -> str:
        """Such as int8-qat."""
        return super().label.replace(f"int{self.bits}", f"int{self.bits}-qat")

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a copy of the network whose weights are already what the integers can say."""
        from paredown.quantize.fake import rounding

        assert variant is not None
        module = copy.deepcopy(variant.module)
        numerics = resolved(self.numerics, module, context.dataset.input_shape)
        with rounding(module, numerics):
            curves = self.recover(module, context, self.epochs)
        return replace(variant, module=module, numerics=numerics, curves=curves)


@dataclass(frozen=True)
class Rehearsal(Recovery):
    """Fine-tune with the rounding of another stage's integers, and stay in float32.

    What comes later on the path, pruning included, finds weights that are used to it. See `Qat`
    for what rounding does to the training; conf/experiment/order.yaml uses this.

    Args:
        integers: The node of the stage that will lower the network.

    How it is fine-tuned stands in `Recovery`.
    """

    source: ClassVar[None] = None
    numerics: ClassVar[None] = None
    note: ClassVar[str] = "still float32"

    integers: Integers

    def check(self, build: Build, context: Context, before: "Training | None") -> None:
        """Refuse a network whose layers cannot be trained with rounding; see `require_plain`."""
        require_plain(on_meta_device(build))

    @property
    def label(self) -> str:
        """Such as rehearsed."""
        return "rehearsed"

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a copy of the network, trained with the rounding."""
        from paredown.quantize.fake import rounding

        assert variant is not None
        module = copy.deepcopy(variant.module)
        shape = context.dataset.input_shape
        with rounding(module, resolved(self.integers.numerics, module, shape)):
            curves = self.recover(module, context, self.epochs)
        return replace(variant, module=module, curves=curves, facts={})
