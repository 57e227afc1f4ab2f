"""timm's classifiers; an extra of pyproject.toml."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from paredown.dataset.preprocessing import Preprocessing, Resize
from paredown.errors import ConfigError, install_command, require
from paredown.model.weights import fingerprint
from paredown.printable import one_line

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Timm:
    """One of timm's classifiers.

    Args:
        name: Of the network, in tables and runs.
        architecture: A name of `timm.create_model`.
        weights: DEFAULT for the published ones, or a file; null for fresh ones.
    """

    name: str
    architecture: str
    weights: str | None = field(default=None, metadata={"key": False})

    @property
    def fingerprint(self) -> dict[str, str]:
        """Timm's version, and the weights."""
        _require_timm()
        return {"timm": version("timm"), **fingerprint(self.weights)}

    def build(self, classes: int, input_shape: tuple[int, int, int]) -> "nn.Module":
        """Build it with fresh weights, for the images' number of channels."""
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
            reason = one_line(str(error))[:100]
            raise ConfigError(f"model.architecture must be timm's, {reason}; {hint}") from error
        return network

    def preprocessing(self) -> Preprocessing | None:
        """Return the preprocessing of the published weights; None for a name that timm lacks."""
        _require_timm()
        from timm.models import get_pretrained_cfg

        try:
            config = get_pretrained_cfg(self.architecture)
        except RuntimeError:  # no such tag; `build` refuses it
            config = None
        if config is None:
            return None
        mode = {"squash": "stretch", "border": "letterbox"}.get(config.crop_mode, "crop")
        center = config.crop_pct if mode == "crop" else None
        resize = Resize(mode, center, config.interpolation)
        origin = f"timm's for {self.architecture}"
        return Preprocessing(origin, config.mean, config.std, resize, config.input_size[-1])

    def published(self, weights: str) -> "dict[str, Tensor]":
        """Return the published weights, downloaded into the hub's cache if they are not there."""
        require(weights == "DEFAULT", "model.weights", "be DEFAULT, a file or null", weights)
        import timm

        try:
            network: nn.Module = timm.create_model(self.architecture, pretrained=True)
        except (RuntimeError, OSError) as error:
            reason = one_line(str(error))[:200]
            raise ConfigError(
                f"model.weights must be published and cached, or there must be a network; {reason}"
            ) from error
        return dict(network.state_dict())


def _require_timm() -> None:
    installed = find_spec("timm") is not None
    require(installed, "model", "have its package installed", "no timm", install_command("timm"))
