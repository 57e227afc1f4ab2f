"""Knowledge distillation from logits: train a fresh student on the teacher's soft targets."""

from dataclasses import dataclass
from typing import ClassVar

from paredown.distill import require_settings
from paredown.model import ModelSource
from paredown.training import Training
from paredown.variant import Context, Variant


@dataclass(frozen=True)
class Knowledge:
    """Train a fresh student on the teacher's logits and on the labels.

    Source: Hinton, Vinyals, Dean, 2015, arXiv 1503.02531; the formula is in `distill/loss.py`.

    Args:
        student: The node of conf/model that is trained.
        training: How it is fitted.
        temperature: Softening of both logits, > 0.
        alpha: Weight of the teacher's term, [0, 1]; the labels get 1 - alpha.
        views: Views per image with stored soft targets; None: fresh ones every time.
    """

    numerics: ClassVar[None] = None
    note: ClassVar[str] = ""

    student: ModelSource
    training: Training
    temperature: float
    alpha: float
    views: int | None

    def __post_init__(self) -> None:
        require_settings(self.temperature, self.alpha, self.views)

    @property
    def label(self) -> str:
        """The student's name."""
        return self.student.name

    @property
    def source(self) -> ModelSource:
        """The student."""
        return self.student

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Build and fit the student; the variant before serves only as the teacher."""
        import torch

        from paredown.distill.loss import distill
        from paredown.model.loading import build_with_weights

        dataset = context.dataset
        torch.manual_seed(context.seed)
        module = build_with_weights(self.student, len(dataset.classes), dataset.input_shape)
        curves = distill(context, self.training, module, self.temperature, self.alpha, self.views)
        return Variant(module, self.student, curves=curves)
