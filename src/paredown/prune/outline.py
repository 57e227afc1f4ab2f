"""Checks of `round_to` by the shapes alone, before a network is built or traced."""

from paredown.errors import ConfigError
from paredown.variant import Build

USUAL = 32  # nearly every network has a wider layer


def require_rounding(round_to: int, outline: Build, key: str = "prune.round_to") -> None:
    """Raise ConfigError for a multiple that no layer is wider than, where shapes alone prove it.

    That takes 0.1 s, where finding the groups takes seconds; `network.require_groups` refuses the
    rest. Networks of Linear layers are left to it: they may have attention, which is not rounded.
    """
    if round_to <= USUAL:
        return
    from torch import nn

    network = outline()
    layers = dict(network.named_modules())
    linear = sum(isinstance(layer, nn.Linear) for layer in layers.values())
    attention = any(isinstance(layer, nn.MultiheadAttention) for layer in layers.values())
    widest = max((max(weight.shape, default=0) for weight in network.parameters()), default=0)
    widths = {
        name: layer.out_channels
        for name, layer in layers.items()
        if isinstance(layer, nn.modules.conv._ConvNd)
    }
    if not (attention or linear > 1 or not widths or round_to < widest):
        name = max(widths, key=lambda layer: widths[layer])
        raise ConfigError(too_coarse(key, round_to, name, widths[name]))


def too_coarse(key: str, round_to: int, name: str, channels: int) -> str:
    """Return the error message for a multiple that no layer is wider than."""
    return (
        f"{key} must be below {channels}, the channels of the widest layer, "
        f"{name}, got {round_to}; no layer would lose a channel"
    )
