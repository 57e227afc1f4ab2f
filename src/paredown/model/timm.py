"""timm's classifiers; an extra of pyproject.toml."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from paredown.dataset.preprocessing import Preprocessing, Resize
from paredown.errors import ConfigError, install_command, require
from paredown.model import weights as own

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Timm:
    """One of timm's classifiers.

    Args:
        name: As tables and runs name it.
        architecture: As `timm.create_model` knows it.
        weights: DEFAULT for the published ones, or a file; null for fresh ones.
    """

    name: str
    architecture: str
    weights: str | None = field(default=None, metadata={"key": False})

    @property
    def fingerprint(self) -> dict[str, str]:
        """Timm's version, and the weights."""
        _require_timm()
        return {"timm": version("timm"), **own.fingerprint(self.weights)}

    def build(self, classes: int, input_shape: tuple[int, int, int]) -> "nn.Module":
        """Build it with fresh weights, for the images' number of channels.

        Raises:
            ConfigError: Without timm, or for a name that it does not have.
        """
        _require_timm()
        import timm

        channels = input_shape[0]
        try:
            network: nn.Module = timm.create_model(
                self.architecture, num_classes=classes, in_chans=channels
            )
        except RuntimeError as error:
            near = get_close_matches(self.architecture, timm.list_models(), n=3)
            hint = f"such as {', '.join(near)}" if near else "timm.list_models() has them all"
            told = " ".join(str(error).split())[:100]
            raise ConfigError(f"model.architecture must be timm's, {told}; {hint}") from error
        return network

    def preprocessing(self) -> Preprocessing | None:
        """Return what published weights were trained to see; None for a name that timm lacks."""
        _require_timm()
        from timm.models import get_pretrained_cfg

        try:
            seen = get_pretrained_cfg(self.architecture)
        except RuntimeError:  # no such tag; `build` tells it
            seen = None
        if seen is None:
            return None
        mode = {"squash": "stretch", "border": "letterbox"}.get(seen.crop_mode, "crop")
        center = seen.crop_pct if mode == "crop" else None
        resize = Resize(mode, center, seen.interpolation)
        origin = f"timm's for {self.architecture}"
        return Preprocessing(origin, seen.mean, seen.std, resize, seen.input_size[-1])

    def published(self, weights: str) -> "dict[str, Tensor]":
        """Fetch the published weights, or find them in the hub's cache folder.

        Raises:
            ConfigError: If there are none, or they are not here and there is no network.
        """
        require(weights == "DEFAULT", "model.weights", "be DEFAULT, a file or null", weights)
        import timm

        try:
            network: nn.Module = timm.create_model(self.architecture, pretrained=True)
        except (RuntimeError, OSError) as error:
            told = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"model.weights must be published and here, or there must be a network; {told}"
            ) from error
        return dict(network.state_dict())


def _require_timm() -> None:
    there = find_spec("timm") is not None
    require(there, "model", "have its package here", "no timm", install_command("timm"))
