"""What a variant is worth, taken from the files that ship."""

import logging
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)


def size_mb(folder: Path) -> float:
    """Add up the bytes of every file that ships, in units of 1e6 bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def compressed_mb(folder: Path) -> float:
    """Add up the bytes of every file that ships after DEFLATE at level 6, in units of 1e6 bytes.

    That is what a zip, an app store or a web server make of them by default; zeros shrink here,
    though not on the disk and not in the engine.
    """
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(_deflated(path) for path in files) / 1e6


def _deflated(file: Path) -> int:
    packer, count = zlib.compressobj(6), 0
    with file.open("rb") as source:
        while chunk := source.read(1 << 20):
            count += len(packer.compress(chunk))
    return count + len(packer.flush())


def zeros(module: "nn.Module") -> float:
    """Tell the share of a network's weights that are exactly 0, of those with two axes or more."""
    weights = [weight for weight in module.parameters() if weight.ndim > 1]
    count = sum(weight.numel() for weight in weights)
    return sum(int((weight == 0).sum()) for weight in weights) / max(count, 1)


def params(module: "nn.Module") -> int:
    """Count the trainable numbers of a network."""
    return sum(parameter.numel() for parameter in module.parameters())


def macs(module: "nn.Module", input_shape: tuple[int, int, int]) -> int:
    """Count the multiply-accumulates of one image, of convolutions and matrix products.

    Args:
        module: Maps (N, C, H, W) to logits.
        input_shape: Channels, height and width of one image.
    """
    return _macs_by_part(module, input_shape)["Global"]


def layers(module: "nn.Module", input_shape: tuple[int, int, int]) -> dict[str, dict[str, int]]:
    """List a network's convolutions and matrix products: output channels, and MACs of one image.

    Args:
        module: Maps (N, C, H, W) to logits.
        input_shape: Channels, height and width of one image.

    Returns:
        `channels` and `macs` by the layer's name, in the order of the network.
    """
    counted = _macs_by_part(module, input_shape)
    found = {}
    for name, part in module.named_modules():
        channels = getattr(part, "out_channels", getattr(part, "out_features", None))
        if type(channels) is int and not list(part.children()):  # containers may tell it, too
            cost = counted.get(f"{type(module).__name__}.{name}", 0)
            found[name] = {"channels": channels, "macs": cost}
    return found


def _macs_by_part(module: "nn.Module", input_shape: tuple[int, int, int]) -> dict[str, int]:
    """Count by dotted name, which begins with the network's class; `Global` is all of it."""
    import torch
    from torch.func import functional_call
    from torch.utils.flop_counter import FlopCounterMode

    # torch's counter fails on a view of what can have a gradient, such as an expanded parameter
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        functional_call(module, weights, (torch.zeros(1, *input_shape),))
    counted = counter.get_flop_counts()
    return {name: int(sum(flops.values())) // 2 for name, flops in counted.items()}
