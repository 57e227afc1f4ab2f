"""Distillation of the network at hand: it goes on learning, from the teacher's answers."""

import copy
from dataclasses import dataclass, replace
from typing import ClassVar

from paredown.training.recovery import Recovery
from paredown.variant import Context, Variant


@dataclass(frozen=True)
class Tuning(Recovery):
    """Fine-tune the network of the stage before on the teacher's logits and on the labels.

    Source: as in `Knowledge`; here the student keeps its weights and its shape, so that the stage
    can stand anywhere on the path. With the baseline as the teacher it is self-distillation;
    `model@teacher.model=` names another.

    How it is fine-tuned stands in `Recovery`.
    """

    source: ClassVar[None] = None
    numerics: ClassVar[None] = None
    note: ClassVar[str] = ""

    @property
    def label(self) -> str:
        """Such as tuned."""
        return "tuned"

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a copy of the network, fine-tuned."""
        assert variant is not None
        module = copy.deepcopy(variant.module)
        curves = self.recover(module, context, self.epochs)
        return replace(variant, module=module, curves=curves, facts={})
