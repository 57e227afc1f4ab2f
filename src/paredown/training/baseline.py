"""The baseline: a model trained on the labels alone. It is the default teacher."""

from dataclasses import dataclass
from typing import ClassVar

from paredown.model import ModelSource
from paredown.training import Training
from paredown.variant import Context, Variant


@dataclass(frozen=True)
class Baseline:
    """Train a network on the labels, from fresh weights or those that its node names.

    Args:
        model: The node of conf/model.
        training: How it is fitted; 0 epochs leave the weights as they are.
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

        from paredown.model.loading import build_with_weights
        from paredown.training.step import label_loss

        dataset = context.dataset
        torch.manual_seed(context.seed)
        module = build_with_weights(self.model, len(dataset.classes), dataset.input_shape)
        curves = context.fit(self.training, module, label_loss(self.training.label_smoothing))
        return Variant(module, self.model, curves=curves)
