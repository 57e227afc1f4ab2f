"""torchvision's classifiers, with the head resized to the classes."""

import sys
from dataclasses import dataclass, field
from http.client import HTTPException
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, get_type_hints

from paredown.dataset.preprocessing import Preprocessing, Resize
from paredown.errors import ConfigError, require_one_of
from paredown.model.weights import fingerprint
from paredown.printable import one_line

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDE_HEADS = ("aux1.", "aux2.", "AuxLogits.")  # of GoogLeNet and Inception


@dataclass(frozen=True)
class Torchvision:
    """One of torchvision's classifiers.

    Args:
        name: A name of `torchvision.models.get_model`.
        weights: Published ones by name, such as DEFAULT, or a file; null for fresh ones.
    """

    name: str
    weights: str | None = field(default=None, metadata={"key": False})

    @property
    def fingerprint(self) -> dict[str, str]:
        """The weights."""
        return fingerprint(self.weights)

    def build(self, classes: int, input_shape: tuple[int, int, int]) -> "nn.Module":
        """Build it; the published architecture takes three channels and any size."""
        from torchvision import models

        names = models.list_models(module=models)
        require_one_of(names, "model.name", self.name)
        plain = {"aux_logits": False, "init_weights": True}  # no heads for training alone
        fields = plain if "aux_logits" in signature(self._class()).parameters else {}
        network: nn.Module = models.get_model(
            self.name, weights=None, num_classes=classes, **fields
        )
        return network

    def _class(self) -> type:
        from torchvision import models

        network: type = get_type_hints(models.get_model_builder(self.name))["return"]
        return network

    def preprocessing(self) -> Preprocessing | None:
        """Return the preprocessing of the weights that it starts from, or else of the newest.

        None if torchvision has no such network or weights.
        """
        from torchvision import models

        if self.name not in models.list_models(module=models):
            return None
        choices = models.get_model_weights(self.name).__members__
        name = self.weights if self.weights in choices else "DEFAULT"
        if name not in choices:
            return None
        transforms = choices[name].transforms()
        size, shorter = transforms.crop_size[0], transforms.resize_size[0]
        resize = Resize("crop", min(1.0, size / shorter), transforms.interpolation.value)
        mean, std = tuple(transforms.mean), tuple(transforms.std)
        if "transform_input" in signature(self._class()).parameters:
            mean = std = (0.5, 0.5, 0.5)  # published ones convert ImageNet's to it themselves
        return Preprocessing(f"torchvision's for {choices[name]}", mean, std, resize, size)

    def published(self, weights: str) -> "dict[str, Tensor]":
        """Return published weights, downloaded into torch hub's folder if they are not there."""
        from torch import hub
        from torchvision import models

        from paredown.model.loading import read

        choices = models.get_model_weights(self.name).__members__
        require_one_of(choices, f"weights of {self.name}", weights)
        url = choices[weights].url
        file = Path(hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            digest = hub.HASH_REGEX.search(file.name)
            prefix, bar = digest.group(1) if digest else None, sys.stderr.isatty()
            try:
                hub.download_url_to_file(url, str(file), prefix, bar)
            except (OSError, HTTPException, RuntimeError) as error:
                raise ConfigError(
                    f"weights of {self.name} must be cached, or there must be a network, got "
                    f"{weights}; {url} cannot be downloaded ({one_line(str(error))}): put it into "
                    f"{file.parent}"
                ) from error
        state = read(file)
        return {name: state[name] for name in state if not name.startswith(SIDE_HEADS)}
