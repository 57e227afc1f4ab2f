"""2:4 sparsity: the pattern that sparse tensor cores accelerate, and CPUs do not."""

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from paredown.prune.pruner import Pruner
from paredown.variant import Context, Variant

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SemiStructured(Pruner):
    """Zero the two smallest of every four weights along a layer's inputs, then fine-tune.

    Layers whose inputs are no multiple of 4, such as one on RGB images, stay as they are. The file
    keeps its shape, its bytes and its speed: ONNX Runtime's CPU kernels are dense.

    Source: Mishra et al., Accelerating Sparse Deep Neural Networks, 2021, arXiv 2104.08378.
    """

    note: ClassVar[str] = "shape unchanged"
    label: ClassVar[str] = "sparse2of4"

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a copy of the variant's network with zeros in it, fine-tuned around them."""
        return self.finetuned(variant, context, self._masked)

    def _masked(self, module: "nn.Module") -> AbstractContextManager[None]:
        from paredown.prune.masks import masked, two_of_four_masks, weights_of

        weights = weights_of(module)
        fitting = {name: weight for name, weight in weights.items() if weight.shape[1] % 4 == 0}
        if len(fitting) < len(weights):
            names = ", ".join(name for name in weights if name not in fitting)
            log.info("%s: not pruned, inputs are no multiple of 4: %s", self.label, names)
        return masked(module, two_of_four_masks(fitting))
