"""The teacher: the baseline, another network, or an ensemble."""

from dataclasses import dataclass, replace

from paredown.errors import require
from paredown.model import ModelSource
from paredown.training import Training
from paredown.training.baseline import Baseline


@dataclass(frozen=True)
class Teacher:
    """The teacher of every stage that distills.

    Args:
        model: The node of conf/model; None for the baseline's.
        training: How it is fitted, on the labels alone.
        epochs: Of that training; None for its own number. 0 leaves the weights as they are.
        members: Networks that differ in their seed, whose logits are averaged. The baseline is
            one of them, unless `model` names another.
    """

    model: ModelSource | None
    training: Training
    epochs: int | None
    members: int

    def __post_init__(self) -> None:
        valid = self.epochs is None or self.epochs >= 0
        require(valid, "epochs", "be at least 0, or null for training.epochs", self.epochs)
        alone = self.epochs is None or self.model is not None
        hint = "choose one with model@teacher.model=NAME, or set training.epochs"
        require(alone, "epochs", "be null where the baseline teaches", self.epochs, hint)
        require(1 <= self.members <= 32, "members", "lie in 1..32", self.members)

    @property
    def stage(self) -> Baseline | None:
        """The stage that trains a separate teacher; None if the baseline teaches."""
        if self.model is None:
            return None
        epochs = self.training.epochs if self.epochs is None else self.epochs
        return Baseline(self.model, replace(self.training, epochs=epochs))
