"""Structured pruning: drop the weakest channels, then fine-tune what is left."""

import copy
import math
from dataclasses import dataclass, replace
from typing import ClassVar

from paredown.errors import require
from paredown.training import Training
from paredown.variant import Context, Variant


@dataclass(frozen=True)
class Structured:
    """Remove the channels with the smallest group L2 norm, one shot, and recover.

    Recovery learns from the baseline and the labels, with the loss of distillation.

    Source: Li et al., Pruning Filters for Efficient ConvNets, 2016, arXiv 1608.08710; groups:
    Fang et al., DepGraph, 2023, arXiv 2301.12900.

    Args:
        amount: Fraction of each layer's channels to remove, [0, 1). Parameters fall by about
            1 - (1 - amount)^2. 0 leaves the network as it is and trains nothing.
        round_to: Kept channels are a multiple of this.
        epochs: Of recovery.
        learning_rate: Of recovery.
        training: Everything else of recovery.
        temperature, alpha: Of the teacher's term in recovery's loss; alpha 0 leaves it out.
    """

    source: ClassVar[None] = None
    numerics: ClassVar[None] = None
    note: ClassVar[str] = ""

    amount: float
    round_to: int
    epochs: int
    learning_rate: float
    training: Training
    temperature: float
    alpha: float

    def __post_init__(self) -> None:
        require(0 <= self.amount < 1, "amount", "lie in [0, 1)", self.amount, "0 keeps them all")
        require(self.round_to >= 1, "round_to", "be at least 1 channel", self.round_to)
        require(self.epochs >= 0, "epochs", "be at least 0", self.epochs)
        positive = 0 < self.learning_rate < math.inf
        require(positive, "learning_rate", "be above 0", self.learning_rate)
        require(0 < self.temperature < math.inf, "temperature", "be above 0", self.temperature)
        require(0 <= self.alpha <= 1, "alpha", "lie in [0, 1]", self.alpha)

    @property
    def label(self) -> str:
        """Such as prune0.30."""
        return f"prune{self.amount:.2f}"

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a smaller copy of the variant's network, fine-tuned."""
        import torch_pruning as tp

        from paredown.distill.loss import teacher_loss
        from paredown.prune.channels import prune_channels

        assert variant is not None
        if self.amount == 0:
            return replace(variant, curves=())
        dataset = context.dataset
        module = copy.deepcopy(variant.module)
        prune_channels(
            module,
            tp.importance.GroupMagnitudeImportance(p=2),
            len(dataset.classes),
            dataset.input_shape,
            self.amount,
            self.round_to,
        )
        training = replace(self.training, epochs=self.epochs, learning_rate=self.learning_rate)
        loss = teacher_loss(
            context.teacher(), self.temperature, self.alpha, training.label_smoothing
        )
        curves = context.fit(training, module, loss)
        return replace(variant, module=module, curves=curves)
