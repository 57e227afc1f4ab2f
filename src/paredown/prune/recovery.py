"""What every technique of the stage `prune` does after it has pruned: fine-tune what is left."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from paredown.errors import require
from paredown.training import Training
from paredown.variant import Build, Context, Variant

if TYPE_CHECKING:
    from torch import nn

    from paredown.prune.channels import Pruning


@dataclass(frozen=True)
class Recovery:
    """How the weights that are left are fitted: by the baseline's answers and the labels.

    Args:
        epochs: Of recovery, in all.
        learning_rate: Of recovery, the highest of the schedule.
        training: Everything else of recovery.
        temperature, alpha: Of the teacher's term in recovery's loss; alpha 0 leaves it out.
    """

    source: ClassVar[None] = None
    numerics: ClassVar[None] = None

    epochs: int
    learning_rate: float
    training: Training
    temperature: float
    alpha: float

    def __post_init__(self) -> None:
        require(self.epochs >= 0, "epochs", "be at least 0", self.epochs)
        positive = 0 < self.learning_rate < math.inf
        require(positive, "learning_rate", "be above 0", self.learning_rate)
        require(0 < self.temperature < math.inf, "temperature", "be above 0", self.temperature)
        require(0 <= self.alpha <= 1, "alpha", "lie in [0, 1]", self.alpha)

    def recover(
        self, module: "nn.Module", context: Context, epochs: int
    ) -> Sequence[Mapping[str, float]]:
        """Fit the weights of `module` in place; give what training logged."""
        from paredown.distill.loss import teacher_loss

        training = replace(self.training, epochs=epochs, learning_rate=self.learning_rate)
        smoothing = training.label_smoothing
        loss = teacher_loss(context.teacher(), self.temperature, self.alpha, smoothing)
        return context.fit(training, module, loss)

    def check(self, build: Build, context: Context, before: Training | None) -> None:
        """Raise ConfigError if the stage cannot work on a network; see `variant.Checks`."""
        import torch

        from paredown.prune.network import require_groups, require_prunable

        with torch.device("meta"):  # shapes are enough to tell
            network = build()
        require_prunable(network, context.dataset, recovers=self.epochs > 0)
        pruning = self.pruning(context)
        if pruning is not None:
            require_groups(network, pruning)

    def pruning(self, context: Context) -> "Pruning | None":
        """Say how whole channels are chosen, if they are."""
        return None


def require_amount(amount: float) -> None:
    """Raise ConfigError unless an amount is a fraction that can be removed."""
    require(0 <= amount < 1, "amount", "lie in [0, 1)", amount, "0 keeps them all")


def unchanged(variant: Variant) -> Variant:
    """Give a variant on as it is, for amount 0."""
    return replace(variant, curves=(), facts={})
