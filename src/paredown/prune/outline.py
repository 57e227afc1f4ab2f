"""What the widths of a network's layers tell before it is run, built in full or traced."""

from paredown.errors import ConfigError
from paredown.variant import Build

USUAL = 32  # nearly every network has a layer that is wider


def require_rounding(round_to: int, outline: Build, key: str = "prune.round_to") -> None:
    """Refuse a multiple that no layer is wider than, where shapes alone prove it.

    That takes 0.1 s, where finding the groups takes seconds; `network.require_groups` refuses the
    rest. Networks of Linear layers go there: they may have attention, which is never rounded.

    Args:
        round_to: Width that the kept channels are a multiple of.
        outline: Builds the network without numbers; called only for an unusual multiple.
        key: Of the setting.

    Raises:
        ConfigError: If no channel could go.
    """
    if round_to <= USUAL:
        return
    from torch import nn

    network = outline()
    parts = dict(network.named_modules())
    linear = sum(isinstance(part, nn.Linear) for part in parts.values())
    attention = any(isinstance(part, nn.MultiheadAttention) for part in parts.values())
    widest = max((max(weight.shape, default=0) for weight in network.parameters()), default=0)
    convolutions = {
        name: part.out_channels
        for name, part in parts.items()
        if isinstance(part, nn.modules.conv._ConvNd)
    }
    if attention or linear > 1 or not convolutions or round_to < widest:
        return
    name = max(convolutions, key=lambda layer: convolutions[layer])
    raise ConfigError(
        f"{key} must be below {convolutions[name]}, the channels of the widest layer, "
        f"{name}, got {round_to}; no layer would lose a channel"
    )
