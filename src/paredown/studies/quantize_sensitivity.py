"""A study: the cost of each layer in integers, the others in float32."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paredown.dataset import Dataset
from paredown.errors import require
from paredown.measure.quality import predict
from paredown.pictures.sheet import save, sheet
from paredown.pictures.words import BARS
from paredown.quantize.layers import running
from paredown.run.path import VariantPath
from paredown.runtime import Logits
from paredown.variant import Numerics, Stage, Variant

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Cost:
    """Cost of one layer in integers, the others in float32.

    Args:
        drop: Share of accuracy lost; negative for a gain.
        agreement: Share of the validation images with the same prediction as the float32 file's.
        error: Root mean square of the logits' change, relative to that of the logits.
    """

    layer: str
    drop: float
    agreement: float
    error: float


@dataclass(frozen=True)
class Sensitivity:
    """Lower the network once per layer, with that layer alone in integers.

    Args:
        shown: Layers in the picture, the most sensitive first.
    """

    shown: int

    def check(self, stages: "Mapping[str, Stage]", network: "nn.Module") -> None:
        """Raise ConfigError unless the last stage quantizes; see `Study`."""
        rule = "end with quantize for this study"
        quantizes = list(stages.values())[-1].numerics is not None
        require(quantizes, "technique.stages", rule, list(stages)[1:])

    def __call__(self, path: VariantPath, folder: Path) -> str:
        """Write sensitivity.json and sensitivity.png; name the layers for quantize.keep_float."""
        numerics = path.stages[-1].numerics
        assert numerics is not None  # checked before any work
        costs = self._measure(path, numerics)
        costs.sort(key=lambda cost: (-cost.error, cost.layer))
        rows = json.dumps([asdict(cost) for cost in costs], indent=1)
        (folder / "sensitivity.json").write_text(rows + "\n")
        _draw(costs[: self.shown], numerics.name, folder / "sensitivity.png")
        return _summary(costs, numerics)

    def _measure(self, path: VariantPath, numerics: Numerics) -> list[Cost]:
        dataset, runtime = path.dataset, path.runtime
        index = len(path.names) - 2  # of the variant before
        variant, source = path.variant(index), path.shipped(index)
        expected = predict(runtime.load(source), dataset, dataset.val)
        names = running(variant.module, dataset.input_shape).names
        costs = []
        for layer in names:
            others = tuple(name for name in names if name != layer)
            alone = replace(numerics, keep_float=others, fallbacks=())
            with tempfile.TemporaryDirectory(prefix="paredown-") as scratch:
                quantized = Variant(variant.module, variant.source, alone)
                runtime.lower(quantized, dataset, Path(scratch), source)
                logits = predict(runtime.load(Path(scratch)), dataset, dataset.val)
            costs.append(_compare(layer, dataset, expected, logits))
        return costs


def _compare(layer: str, dataset: Dataset, expected: Logits, logits: Logits) -> Cost:
    before, after = expected.argmax(axis=1), logits.argmax(axis=1)
    labels = dataset.val.labels
    return Cost(
        layer=layer,
        drop=float((before == labels).mean() - (after == labels).mean()),
        agreement=float((before == after).mean()),
        error=float(np.sqrt(((logits - expected) ** 2).mean() / (expected**2).mean())),
    )


def _summary(costs: Sequence[Cost], numerics: Numerics) -> str:
    worst = [cost.layer for cost in costs[:3]]
    lines = [f"of {len(costs)} layers alone in {numerics.name}, the most sensitive:"]
    lines += [
        f"  {cost.layer}: {cost.drop:+.2%} of accuracy lost, logits change by {cost.error:.1%}"
        for cost in costs[:5]
    ]
    hint = f"to keep them in float32: 'quantize.keep_float=[{','.join(worst)}]'"
    return "\n".join([*lines, hint])


def _draw(costs: Sequence[Cost], name: str, file: Path) -> None:
    """Draw one bar per layer: the error of the logits, and the accuracy lost."""
    from matplotlib.ticker import PercentFormatter

    title = f"one layer in {name}, the others in float32: {costs[0].layer} costs the most"
    figure, (errors, drops) = sheet(title, 2, 5.6, 0.9 + 0.22 * len(costs))
    places = range(len(costs), 0, -1)
    for axes, values, label, color in (
        (errors, [cost.error for cost in costs], "change of the logits, root mean square", BARS[0]),
        (drops, [cost.drop for cost in costs], "accuracy lost, share of all images", BARS[1]),
    ):
        axes.barh(places, values, color=color, height=0.75)
        axes.set_yticks(places, [cost.layer for cost in costs], fontsize=8)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(visible=False, axis="y")
        axes.set_ylim(0.2, len(costs) + 0.8)
        axes.set_xlabel(label)
    drops.axvline(0, color="#8b929c", linewidth=1)
    save(figure, file)
