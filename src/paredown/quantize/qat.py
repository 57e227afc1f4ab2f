"""Quantization-aware training: fine-tuning with the rounding that ships."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from paredown.model import on_meta_device
from paredown.quantize.layers import resolved
from paredown.quantize.static import StaticQuantization
from paredown.quantize.weights import require_plain
from paredown.training.finetune import FineTuning
from paredown.variant import Build, Context, Numerics, Variant

if TYPE_CHECKING:
    from paredown.training import Training


@dataclass(frozen=True)
class RoundedFineTuning(FineTuning):
    """Fine-tuning with rounded weights and activations."""

    def check(self, build: Build, context: Context, before: "Training | None") -> None:
        """Refuse a network whose layers cannot be trained with rounding; see `require_plain`."""
        require_plain(on_meta_device(build))

    def _with_rounding(
        self, variant: Variant | None, context: Context, numerics: Numerics
    ) -> Variant:
        """Return a copy of the network, fine-tuned and rounded in resolved numerics."""
        from paredown.quantize.fake import rounding

        return self.finetuned(variant, context, lambda module: rounding(module, numerics))


@dataclass(frozen=True)
class Qat(RoundedFineTuning, StaticQuantization):
    """Fine-tune with rounded weights and activations, then lower into integers.

    The forward pass rounds; the backward pass treats rounding as the identity (the
    straight-through estimator), and stops where a value was clipped. The loss is that of
    distillation, with the baseline as the teacher.

    Source: Jacob et al., 2017, arXiv 1712.05877; the estimator: Bengio, Leonard, Courville,
    Estimating or Propagating Gradients Through Stochastic Neurons, 2013, arXiv 1308.3432.
    """

    def __post_init__(self) -> None:
        FineTuning.__post_init__(self)
        StaticQuantization.__post_init__(self)

    @property
    def label(self) -> str:
        """Such as int8-qat."""
        return super().label.replace(f"int{self.bits}", f"int{self.bits}-qat")

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a copy of the network whose weights are exact in integers."""
        assert variant is not None
        numerics = resolved(self.numerics, variant.module, context.dataset.input_shape)
        tuned = self._with_rounding(variant, context, numerics)
        return replace(tuned, numerics=numerics, facts=variant.facts)


@dataclass(frozen=True)
class Rehearsal(RoundedFineTuning):
    """Fine-tune with the rounding of a later stage, and stay in float32.

    Later stages then start from weights already adapted to rounding. See `Qat` for the effect on
    training; conf/experiment/order.yaml uses this.

    Args:
        integers: The node of the stage that will lower the network.
    """

    source: ClassVar[None] = None
    numerics: ClassVar[None] = None
    note: ClassVar[str] = "still float32"
    label: ClassVar[str] = "rehearsed"

    integers: StaticQuantization

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a copy of the network, trained with the rounding."""
        assert variant is not None
        shape = context.dataset.input_shape
        numerics = resolved(self.integers.numerics, variant.module, shape)
        return self._with_rounding(variant, context, numerics)
