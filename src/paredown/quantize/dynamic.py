"""Dynamic int8: integer Linear layers whose activation ranges are taken at every inference."""

from dataclasses import dataclass
from typing import ClassVar

from paredown.quantize.recipe import PostTraining


@dataclass(frozen=True)
class Dynamic(PostTraining):
    """Ask the runtime for dynamic int8, which leaves convolutions in float32.

    It suits transformers and recurrent networks. In a convolutional network only the classifier
    becomes integer, as the table notes: size and latency hardly change.

    Args:
        per_channel: One scale per channel of a weight, rather than one per tensor.
        keep_float: Patterns of layers that stay in float32.
    """

    scheme: ClassVar[str] = "dynamic"
    label: ClassVar[str] = "int8-dynamic"
    note: ClassVar[str] = "dynamic"

    per_channel: bool
    keep_float: list[str]
