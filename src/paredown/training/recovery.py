"""The short training after a network was changed: what is left learns from the teacher again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from paredown.distill import require_views
from paredown.errors import require
from paredown.training import Training
from paredown.variant import Context

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Recovery:
    """How the weights that are left are fitted: by the baseline's answers and the labels.

    Args:
        epochs: Of recovery, in all; 0 trains nothing.
        learning_rate: Of recovery, the highest of the schedule.
        training: Everything else of recovery.
        temperature, alpha: Of the teacher's term in recovery's loss; alpha 0 leaves it out.
        views: Ways to show each image, whose answers are kept; null: fresh ones every time.
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
        require(0 < self.temperature < math.inf, "temperature", "be above 0", self.temperature)
        require(0 <= self.alpha <= 1, "alpha", "lie in [0, 1]", self.alpha)
        require_views(self.views)

    def recover(
        self, module: "nn.Module", context: Context, epochs: int
    ) -> Sequence[Mapping[str, float]]:
        """Fit the weights of `module` in place; give what training logged."""
        from paredown.distill.loss import learn

        training = replace(self.training, epochs=epochs, learning_rate=self.learning_rate)
        return learn(context, training, module, self.temperature, self.alpha, self.views)
