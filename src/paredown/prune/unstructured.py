"""Unstructured pruning: scattered zeros for the smallest weights."""

from dataclasses import dataclass
from typing import ClassVar

from paredown.errors import require_one_of
from paredown.prune.pruner import Pruner, require_amount, unchanged
from paredown.variant import Context, Variant


@dataclass(frozen=True)
class Unstructured(Pruner):
    """Zero the smallest weights of convolutions and Linears, then fine-tune.

    The file keeps its shape, its bytes and its speed, and compresses better.

    Source: Han et al., Learning both Weights and Connections, 2015, arXiv 1506.02626.

    Args:
        amount: Fraction of the weights, [0, 1).
        scope: What is ranked together: the weights of one layer (local), or of all (global).
    """

    note: ClassVar[str] = "shape unchanged"

    amount: float
    scope: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require_amount(self.amount)
        require_one_of(("local", "global"), "scope", self.scope)

    @property
    def label(self) -> str:
        """Such as unstructured0.30."""
        return f"unstructured{self.amount:.2f}"

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a copy of the variant's network with zeros in it, fine-tuned around them."""
        from paredown.prune.masks import masked, scattered_masks, weights_of

        if self.amount == 0:
            return unchanged(variant)
        return self.finetuned(
            variant,
            context,
            lambda net: masked(net, scattered_masks(weights_of(net), self.amount, self.scope)),
        )
