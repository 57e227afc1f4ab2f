"""Fine-tuning: the short training after a stage has changed a network."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from paredown.distill import require_settings
from paredown.errors import require
from paredown.training import Training
from paredown.variant import Context, Variant

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class FineTuning:
    """Settings of fine-tuning on the teacher's logits and the labels.

    Args:
        epochs: In all; 0 trains nothing.
        learning_rate: The highest of the schedule.
        training: All other settings.
        temperature, alpha: Of the distillation loss; alpha 0 leaves out the teacher's term.
        views: Views per image with stored soft targets; null: fresh ones every time.
    """

    epochs: int
    learning_rate: float
    training: Training
    temperature: float
    alpha: float
    views: int | None

    def __post_init__(self) -> None:
        require(self.epochs >= 0, "epochs", "be at least 0", self.epochs)
        positive = 0 < self.learning_rate < math.inf
        require(positive, "learning_rate", "be above 0", self.learning_rate)
        require_settings(self.temperature, self.alpha, self.views)

    def finetune(
        self, module: "nn.Module", context: Context, epochs: int
    ) -> Sequence[Mapping[str, float]]:
        """Fit the weights of `module` in place; return the training curves."""
        from paredown.distill.loss import distill

        training = replace(self.training, epochs=epochs, learning_rate=self.learning_rate)
        return distill(context, training, module, self.temperature, self.alpha, self.views)

    def finetuned(
        self,
        variant: Variant | None,
        context: Context,
        constraint: "Callable[[nn.Module], AbstractContextManager[Any]]" = nullcontext,
    ) -> Variant:
        """Return a variant with a copy of the network, fine-tuned under a constraint."""
        assert variant is not None
        module = copy.deepcopy(variant.module)
        with constraint(module):
            curves = self.finetune(module, context, self.epochs)
        return replace(variant, module=module, curves=curves, facts={})
