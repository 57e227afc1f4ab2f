"""Bytes, parameters, multiply-accumulates and zeros of a variant: its cost at any speed."""

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def of(folder: Path, module: "nn.Module", input_shape: tuple[int, int, int]) -> dict[str, float]:
    """Measure all about a network, and the files in a folder that ship it, but inference."""
    return {
        "size_mb": size_mb(folder),
        "compressed_mb": compressed_mb(folder),
        "zeros": zeros(module),
        "params": params(module),
        "macs": macs(module, input_shape),
    }


def size_mb(folder: Path) -> float:
    """Return the bytes of all files in a folder, in units of 1e6 bytes."""
    return sum(file.stat().st_size for file in _files(folder)) / 1e6


def compressed_mb(folder: Path) -> float:
    """Return the bytes of all files in a folder after DEFLATE at level 6, in units of 1e6 bytes.

    A zip, an app store or a web server packs them like that by default. In-place zeros pay off
    here, though not on disk or in memory.
    """
    return sum(_deflated(file) for file in _files(folder)) / 1e6


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _deflated(file: Path) -> int:
    packer, count = zlib.compressobj(6), 0
    with file.open("rb") as source:
        while chunk := source.read(1 << 20):
            count += len(packer.compress(chunk))
    return count + len(packer.flush())


def zeros(module: "nn.Module") -> float:
    """Return the share of exact zeros among the weights that have two axes or more."""
    weights = [weight for weight in module.parameters() if weight.ndim > 1]
    count = sum(weight.numel() for weight in weights)
    return sum(int((weight == 0).sum()) for weight in weights) / max(count, 1)


def params(module: "nn.Module") -> int:
    """Count the parameters of a network."""
    return sum(parameter.numel() for parameter in module.parameters())


def macs(module: "nn.Module", input_shape: tuple[int, int, int]) -> int:
    """Count the multiply-accumulates of convolutions and matrix products for one image."""
    return _macs_by_name(module, input_shape)["Global"]


def layers(module: "nn.Module", input_shape: tuple[int, int, int]) -> dict[str, dict[str, int]]:
    """Return output `channels`, and `macs` of one image, of every convolution and linear layer."""
    counts = _macs_by_name(module, input_shape)
    rows = {}
    for name, layer in module.named_modules():
        channels = getattr(layer, "out_channels", getattr(layer, "out_features", None))
        if type(channels) is int and not list(layer.children()):  # containers may have it, too
            layer_macs = counts.get(f"{type(module).__name__}.{name}", 0)
            rows[name] = {"channels": channels, "macs": layer_macs}
    return rows


def _macs_by_name(module: "nn.Module", input_shape: tuple[int, int, int]) -> dict[str, int]:
    """Count by dotted name, which begins with the network's class; `Global` is the total."""
    import torch
    from torch.func import functional_call
    from torch.utils.flop_counter import FlopCounterMode

    # torch's counter fails on a view of what can have a gradient, such as an expanded parameter
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        functional_call(module, weights, (torch.zeros(1, *input_shape),))
    counts = counter.get_flop_counts()
    return {name: int(sum(flops.values())) // 2 for name, flops in counts.items()}
