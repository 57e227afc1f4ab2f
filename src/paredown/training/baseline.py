"""The first row of every table, and the teacher: a model trained on the labels alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from paredown.model import ModelSource
from paredown.training import Training
from paredown.variant import Context, Variant

if TYPE_CHECKING:
    from torch import Tensor

    from paredown.training.loop import Batch


@dataclass(frozen=True)
class Baseline:
    """Train a network on the labels, from fresh weights or those that it names.

    Args:
        model: The node of conf/model.
        training: How it is fitted; no epochs leave the weights that it names as they are.
    """

    numerics: ClassVar[None] = None
    note: ClassVar[str] = ""

    model: ModelSource
    training: Training

    @property
    def label(self) -> str:
        """The network's name."""
        return self.model.name

    @property
    def source(self) -> ModelSource:
        """The network."""
        return self.model

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Build the network and fit it by cross-entropy."""
        import torch
        from torch.nn import functional as F

        from paredown.model.weights import start

        def loss(logits: "Tensor", batch: "Batch") -> "Tensor":
            smoothing = self.training.label_smoothing
            return F.cross_entropy(logits, batch.labels, label_smoothing=smoothing)

        dataset = context.dataset
        torch.manual_seed(context.seed)
        module = start(self.model, len(dataset.classes), dataset.input_shape)
        curves = context.fit(self.training, module, loss)
        return Variant(module, self.model, curves=curves)
