"""Who teaches: the baseline, other networks, or several of them at once."""

from dataclasses import dataclass, replace

from paredown.errors import require
from paredown.model import ModelSource
from paredown.training import Training
from paredown.training.baseline import Baseline


@dataclass(frozen=True)
class Teacher:
    """What every stage that learns from a teacher learns from.

    Args:
        model: The node of conf/model; None for the baseline's.
        training: How it is fitted, on the labels alone.
        epochs: Of that training; None for as many as it says. 0 leaves its weights as they are.
        members: Networks that differ in the seed they were trained from; the mean of their logits
            teaches. The baseline is one of them, unless `model` is another.
    """

    model: ModelSource | None
    training: Training
    epochs: int | None
    members: int

    def __post_init__(self) -> None:
        some = self.epochs is None or self.epochs >= 0
        require(some, "epochs", "be at least 0, or null for training.epochs", self.epochs)
        alone = self.epochs is None or self.model is not None
        hint = "choose one with model@teacher.model=NAME, or set training.epochs"
        require(alone, "epochs", "be null where the baseline teaches", self.epochs, hint)
        require(1 <= self.members <= 32, "members", "lie in 1..32", self.members)

    @property
    def stage(self) -> Baseline | None:
        """What makes a teacher of its own; None if the baseline's stage does."""
        if self.model is None:
            return None
        epochs = self.training.epochs if self.epochs is None else self.epochs
        return Baseline(self.model, replace(self.training, epochs=epochs))
