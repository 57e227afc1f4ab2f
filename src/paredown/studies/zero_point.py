"""A study: why integers need a zero point. What a ReLU gives is never negative."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from paredown.dataset import Dataset
from paredown.errors import ConfigError, require
from paredown.measure import quality
from paredown.quantize.affine import Affine, affine, round_trip
from paredown.run.path import VariantPath
from paredown.run.plan import Plan
from paredown.variant import Stage, Variant

if TYPE_CHECKING:
    from torch import nn

BITS = (2, 3, 4, 5, 6, 7, 8)
KINDS = {"affine": False, "symmetric": True}
SHOWN = 4  # bits of the levels that are drawn
VALUES = 20_000  # of a layer's output, drawn at random, that the histogram and errors are of

Values = NDArray[np.float32]


@dataclass(frozen=True)
class ZeroPoint:
    """Round what the ReLUs of the last float32 network give, with and without a zero point.

    Args:
        images: Validation images that are shown to the network.
    """

    images: int

    def check(self, stages: "Mapping[str, Stage]", network: "nn.Module") -> None:
        """Raise ConfigError unless the network has a ReLU; see `study.Study`."""
        from torch import nn

        relus = any(isinstance(part, (nn.ReLU, nn.ReLU6)) for part in network.modules())
        require(relus, "model", "have a ReLU for this study", "none")

    def __call__(self, path: VariantPath, parts: Plan, dataset: Dataset, folder: Path) -> str:
        """Write zero_point.json and zero_point.png, and tell what the zero point is worth."""
        stages = list(parts.stages.values())
        index = max(at for at, stage in enumerate(stages) if stage.numerics is None)
        outputs = _relu_outputs(path.variant(index).module, dataset, self.images)
        noise = {
            name: [[signal_to_noise(each, bits, forced) for bits in BITS] for each in outputs]
            for name, forced in KINDS.items()
        }
        files = _lowered(path, parts, dataset, index)
        told = {"bits": BITS, "signal_to_noise_db": noise, "int8_files": files}
        (folder / "zero_point.json").write_text(json.dumps(told, indent=1) + "\n")
        _draw(outputs[0], noise, folder / "zero_point.png")
        return _words(noise, files)


def signal_to_noise(values: Values, bits: int, symmetric: bool) -> float:
    """Give how much stronger values are than their rounding error, in dB.

    10 log10(sum of squares / sum of squared errors)

    Args:
        values: Of any shape, not all 0.
        bits: Of an integer.
        symmetric: Whether the range is forced to be symmetric about 0.
    """
    how = affine(float(values.min()), float(values.max()), bits, symmetric)
    noise = float(((round_trip(values, how) - values) ** 2).sum())
    return float(10 * np.log10(float((values**2).sum()) / max(noise, 1e-30)))


def _relu_outputs(module: "nn.Module", dataset: Dataset, count: int) -> list[Values]:
    """Give a sample of what each ReLU answers, in the order in which they answer."""
    import torch
    from torch import nn

    rng, found = np.random.default_rng(0), []

    def keep(part: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        flat = output.numpy().ravel()
        if flat.any():
            found.append(rng.choice(flat, size=min(VALUES, flat.size), replace=False))

    kinds = (nn.ReLU, nn.ReLU6)
    hooks = [part.register_forward_hook(keep) for part in module.modules() if type(part) in kinds]
    try:
        with torch.inference_mode():
            module(torch.from_numpy(dataset.normalize(dataset.val.images[:count])))
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ConfigError("model must have a ReLU for this study; it has none")
    return found


def _lowered(
    path: VariantPath, parts: Plan, dataset: Dataset, index: int
) -> dict[str, dict[str, float]]:
    """Lower the network into int8 in both ways; give accuracy and size of the files."""
    numerics = list(parts.stages.values())[-1].numerics
    if numerics is None:
        return {}
    variant, source = path.variant(index), path.shipped(index)
    found = {}
    for name, forced in KINDS.items():
        with tempfile.TemporaryDirectory(prefix="paredown-") as scratch:
            asked = replace(numerics, symmetric=forced, fallbacks=())
            made = Variant(variant.module, variant.source, asked)
            parts.runtime.lower(made, dataset, Path(scratch), source)
            program = parts.runtime.load(Path(scratch))
            found[name] = quality.accuracy(program, dataset, dataset.val)
    return found


def _words(noise: Mapping[str, list[list[float]]], files: Mapping[str, Any]) -> str:
    at = {name: np.median(np.asarray(rows)[:, -1]) for name, rows in noise.items()}
    lines = [
        f"of {len(noise['affine'])} ReLU outputs in 8 bits, signal to noise in the median: "
        f"{at['affine']:.1f} dB with a zero point, {at['symmetric']:.1f} dB without; "
        "a bit is worth 6 dB"
    ]
    lines += [
        f"int8 file, {name} activations: {row['accuracy']:.2%}" for name, row in files.items()
    ]
    return "\n".join(lines)


def _draw(values: Values, noise: Mapping[str, list[list[float]]], file: Path) -> None:
    """Draw the levels that each map has for one ReLU's output, and the noise by bits."""
    from paredown.pictures.sheet import save, sheet
    from paredown.pictures.words import BARS

    figure, (levels, decibels) = sheet(
        "a symmetric range wastes half of the integers on values that a ReLU never gives",
        2,
        6.2,
        4.2,
    )
    top = float(values.max())
    levels.hist(values[values > 0], bins=80, color="#c9ced6", log=True)
    for at, (name, forced) in enumerate(KINDS.items()):
        how = affine(0.0, top, SHOWN, forced)
        spots = _levels(how)
        line = (0.97 - 0.07 * at,) * len(spots)
        levels.plot(
            spots, line, "|" if at else "o", color=BARS[at], markersize=9 if at else 5,
            transform=levels.get_xaxis_transform(), label=f"{name}: {len(spots)} levels",
        )  # fmt: skip
    levels.set_xlim(-1.05 * top, 1.05 * top)
    levels.set_xlabel("value of the first ReLU's output (zeros left out)")
    levels.set_ylabel("values, logarithmic")
    levels.set_title(f"the levels of {SHOWN} bits", loc="left", fontsize=10)
    levels.legend(frameon=False, fontsize=9, loc="center left")
    for at, (name, rows) in enumerate(noise.items()):
        table = np.asarray(rows)
        low, middle, high = np.percentile(table, (0, 50, 100), axis=0)
        decibels.fill_between(BITS, low, high, color=BARS[at], alpha=0.18, linewidth=0)
        style = "-o" if at == 0 else "--s"
        decibels.plot(BITS, middle, style, color=BARS[at], markersize=5, label=name)
    decibels.set_xlabel("bits")
    decibels.set_ylabel("signal to noise, dB")
    decibels.set_title("median of all ReLUs, least to most shaded", loc="left", fontsize=10)
    decibels.legend(frameon=False, fontsize=9)
    save(figure, file)


def _levels(how: Affine) -> list[float]:
    return [float((whole - how.zero) * how.scale) for whole in range(how.least, how.most + 1)]
