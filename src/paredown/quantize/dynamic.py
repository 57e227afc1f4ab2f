"""Dynamic int8: integer Linear layers whose activations get their range at every inference."""

import logging
from dataclasses import dataclass, replace
from typing import ClassVar

from paredown.quantize.layers import resolved
from paredown.quantize.recipe import recipe
from paredown.variant import Context, Numerics, Variant

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dynamic:
    """Ask the runtime for dynamic int8, which leaves convolutions as they are.

    It was made for transformers and recurrent networks. Of a convolutional one it converts the
    classifier, which is said in the table: size and latency hardly move.

    Args:
        per_channel: One scale a channel of a weight, rather than one a tensor.
        keep_float: Patterns of layers that stay in float32.
    """

    source: ClassVar[None] = None
    training: ClassVar[None] = None
    label: ClassVar[str] = "int8-dynamic"
    note: ClassVar[str] = "dynamic"

    per_channel: bool
    keep_float: list[str]

    def __post_init__(self) -> None:
        _ = self.numerics  # checks every setting

    @property
    def numerics(self) -> Numerics:
        """What the runtime is asked for."""
        settings = {"per_channel": self.per_channel, "keep_float": self.keep_float}
        return recipe(self.label, "dynamic", 1.0, (), **settings)

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return the same weights, to be lowered."""
        assert variant is not None
        numerics = resolved(self.numerics, variant.module, context.dataset.input_shape)
        return replace(variant, numerics=numerics, curves=())
