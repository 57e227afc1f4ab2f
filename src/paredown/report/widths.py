"""Widths of layers, before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paredown.report.measured import spans

COLUMNS = 5  # beside the first
Layers = Mapping[str, Mapping[str, int]]
"""channels and macs per layer by name; see `measure.layers`."""


@dataclass(frozen=True)
class Widths:
    """A network, and its versions of later stages.

    Args:
        before: Its stage.
        versions: Layers of the network and of its versions, by stage and runs; `before` first.
    """

    before: str
    versions: Mapping[str, Layers]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(self.versions[self.before])

    @property
    def columns(self) -> dict[str, tuple[int, ...]]:
        """Channels of each layer, by version."""
        return {
            version: tuple(layers[name]["channels"] for name in self.layers)
            for version, layers in self.versions.items()
        }

    @property
    def macs(self) -> dict[str, int]:
        """MACs of all layers together, by version."""
        return {
            version: sum(layer["macs"] for layer in layers.values())
            for version, layers in self.versions.items()
        }

    @property
    def shares(self) -> dict[str, tuple[float, ...]]:
        """Share of each layer in these MACs, by version."""
        macs = self.macs
        return {
            version: tuple(layers[name]["macs"] / max(macs[version], 1) for name in self.layers)
            for version, layers in self.versions.items()
        }

    def brief(self, most: int = COLUMNS) -> "Widths":
        """Return the first version and a few others, spread evenly over their MACs."""
        first, *others = self.versions
        if len(others) <= most:
            return self
        order = sorted(others, key=self.macs.__getitem__)
        chosen = {order[round(index * (len(order) - 1) / (most - 1))] for index in range(most)}
        return Widths(
            self.before,
            {who: self.versions[who] for who in self.versions if who == first or who in chosen},
        )


def read_layers(content: object) -> dict[str, Layers]:
    """Check and return the layers of a run, by stage.

    Raises:
        ValueError: If it is anything else.
    """
    if not isinstance(content, dict):
        raise ValueError("it does not hold layers by stage")
    for stage, layers in content.items():
        numbers = layers.values() if isinstance(layers, dict) else [None]
        for layer in numbers:
            names = ("channels", "macs")
            if not isinstance(layer, dict) or not all(isinstance(layer.get(n), int) for n in names):
                raise ValueError(f"it does not hold channels and macs of every layer of {stage}")
    return content


def widths(runs: Sequence[tuple[int, Mapping[str, Layers]]]) -> list[Widths]:
    """Compare each network with its versions of later stages; unchanged ones are left out.

    Args:
        runs: Number of each, and its layers by stage, in order.
    """
    changed: dict[tuple[str, str], dict[str, tuple[str, list[int]]]] = {}
    by_shape: dict[str, Layers] = {}
    for number, by_stage in runs:
        first = ""
        for stage, layers in by_stage.items():
            shape = _shape(layers)
            by_shape.setdefault(shape, layers)
            if not first or by_shape[first].keys() != layers.keys():  # another network begins
                first, begins = shape, stage
            elif shape != first:
                _, numbers = changed.setdefault((begins, first), {}).setdefault(shape, (stage, []))
                if number not in numbers:
                    numbers.append(number)
    tables = []
    for (begins, first), after in changed.items():
        versions = {begins: by_shape[first]}
        for shape, (stage, numbers) in after.items():
            runs_text = "runs" if numbers[1:] else "run"
            versions[f"{stage}, {runs_text} {spans(numbers)}"] = by_shape[shape]
        tables.append(Widths(begins, versions))
    return tables


def _shape(layers: Layers) -> str:
    return " ".join(f"{name}:{layer['channels']}" for name, layer in layers.items())
