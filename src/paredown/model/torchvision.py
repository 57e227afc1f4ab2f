"""torchvision's classifiers, with the head resized to the classes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paredown.errors import require_one_of

if TYPE_CHECKING:
    from torch import nn

PLAIN = {  # without the heads that only training has: a network gives logits, and nothing else
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


@dataclass(frozen=True)
class Torchvision:
    """One of torchvision's classifiers, untrained.

    Args:
        name: As `torchvision.models.get_model` knows it.
    """

    name: str

    def build(self, classes: int, input_shape: tuple[int, int, int]) -> "nn.Module":
        """Build it; the published architecture takes three channels and any size.

        Raises:
            ConfigError: For a name that torchvision does not have.
        """
        from torchvision import models

        names = models.list_models(module=models)
        require_one_of(names, "model.name", self.name)
        options = PLAIN.get(self.name, {})
        network: nn.Module = models.get_model(
            self.name, weights=None, num_classes=classes, **options
        )
        return network
