"""Distillation without a new student: the network at hand is fine-tuned on soft targets."""

from dataclasses import dataclass
from typing import ClassVar

from paredown.training.finetune import FineTuning
from paredown.variant import Context, Variant


@dataclass(frozen=True)
class Tuning(FineTuning):
    """Fine-tune the network of the stage before on the teacher's logits and on the labels.

    Source: as in `Knowledge`; here the student keeps its weights and its shape, so the stage can
    stand anywhere on the path. With the baseline as the teacher it is self-distillation;
    `model@teacher.model=` names another.
    """

    source: ClassVar[None] = None
    numerics: ClassVar[None] = None
    note: ClassVar[str] = ""
    label: ClassVar[str] = "tuned"

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a fine-tuned copy of the network."""
        return self.finetuned(variant, context)
