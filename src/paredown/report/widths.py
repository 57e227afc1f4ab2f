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
        layers: Their names.
        columns: Channels of each layer, by stage and runs; `before` first.
        macs: Of all layers together, likewise.
        shares: Of each layer in these MACs, likewise.
    """

    before: str
    layers: tuple[str, ...]
    columns: Mapping[str, tuple[int, ...]]
    macs: Mapping[str, int]
    shares: Mapping[str, tuple[float, ...]]

    def brief(self, most: int = COLUMNS) -> "Widths":
        """Return the first column and a few others, spread evenly over their MACs."""
        first, *others = self.columns
        if len(others) <= most:
            return self
        order = sorted(others, key=lambda who: self.macs[who])
        chosen = {order[round(index * (len(order) - 1) / (most - 1))] for index in range(most)}
        names = [first, *(who for who in others if who in chosen)]
        return Widths(
            self.before,
            self.layers,
            {who: self.columns[who] for who in names},
            {who: self.macs[who] for who in names},
            {who: self.shares[who] for who in names},
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
    return [_table(begins, first, after, by_shape) for (begins, first), after in changed.items()]


def _table(
    begins: str,
    first: str,
    after: Mapping[str, tuple[str, Sequence[int]]],
    by_shape: Mapping[str, Layers],
) -> Widths:
    columns = {begins: by_shape[first]}
    for shape, (stage, numbers) in after.items():
        runs = "runs" if numbers[1:] else "run"
        columns[f"{stage}, {runs} {spans(numbers)}"] = by_shape[shape]
    names = tuple(by_shape[first])
    macs = {who: sum(layer["macs"] for layer in layers.values()) for who, layers in columns.items()}
    return Widths(
        begins,
        names,
        {who: tuple(layers[name]["channels"] for name in names) for who, layers in columns.items()},
        macs,
        {
            who: tuple(layers[name]["macs"] / max(macs[who], 1) for name in names)
            for who, layers in columns.items()
        },
    )


def _shape(layers: Layers) -> str:
    return " ".join(f"{name}:{layer['channels']}" for name, layer in layers.items())
