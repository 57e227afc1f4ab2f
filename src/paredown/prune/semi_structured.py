"""Two of four: the pattern that sparse tensor cores run, and CPUs do not."""

import copy
import logging
from dataclasses import dataclass, replace
from typing import ClassVar

from paredown.prune.pruner import Pruner
from paredown.variant import Context, Variant

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SemiStructured(Pruner):
    """Zero the two smallest of every four weights along a layer's inputs, and recover.

    Layers whose inputs are no multiple of 4 stay as they are, such as one that takes colours.
    The file keeps its shape, its bytes and its speed: ONNX Runtime's CPU kernels are dense.

    Source: Mishra et al., Accelerating Sparse Deep Neural Networks, 2021, arXiv 2104.08378.
    """

    note: ClassVar[str] = "shape unchanged"
    label: ClassVar[str] = "sparse2of4"

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a copy of the variant's network with zeros in it, fine-tuned around them."""
        from paredown.prune.masks import masked, two_of_four_masks, weights_of

        assert variant is not None
        module = copy.deepcopy(variant.module)
        weights = weights_of(module)
        fits = {name: weight for name, weight in weights.items() if weight.shape[1] % 4 == 0}
        if len(fits) < len(weights):
            whole = ", ".join(name for name in weights if name not in fits)
            log.info("%s: inputs no multiple of 4, left whole: %s", self.label, whole)
        with masked(module, two_of_four_masks(fits)):
            curves = self.recover(module, context, self.epochs)
        return replace(variant, module=module, curves=curves, facts={})
