"""How wide each layer is before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paredown.report.measured import spans

MOST = 5  # columns beside the first
Layers = Mapping[str, Mapping[str, int]]
"""channels and macs of every layer by its name; see `measure.layers`."""


@dataclass(frozen=True)
class Widths:
    """One network, and what runs made of it.

    Args:
        before: The stage that made it.
        layers: Their names.
        columns: Channels of each layer, by the stage and runs that made them; `before` first.
        macs: Of all layers together, likewise.
        shares: Of each layer in these MACs, likewise.
    """

    before: str
    layers: tuple[str, ...]
    columns: Mapping[str, tuple[int, ...]]
    macs: Mapping[str, int]
    shares: Mapping[str, tuple[float, ...]]

    def brief(self, most: int = MOST) -> "Widths":
        """Keep the first column and a few others, spread evenly over their MACs."""
        first, *others = self.columns
        if len(others) <= most:
            return self
        order = sorted(others, key=lambda who: self.macs[who])
        chosen = {order[round(at * (len(order) - 1) / (most - 1))] for at in range(most)}
        names = [first, *(who for who in others if who in chosen)]
        return Widths(
            self.before,
            self.layers,
            {who: self.columns[who] for who in names},
            {who: self.macs[who] for who in names},
            {who: self.shares[who] for who in names},
        )


def read_layers(content: object) -> dict[str, Layers]:
    """Check what a run keeps of its layers, by stage.

    Raises:
        ValueError: If it is anything else.
    """
    if not isinstance(content, dict):
        raise ValueError("it does not hold layers by stage")
    for stage, layers in content.items():
        numbers = layers.values() if isinstance(layers, dict) else [None]
        for layer in numbers:
            whole = isinstance(layer, dict) and all(
                isinstance(layer.get(name), int) for name in ("channels", "macs")
            )
            if not whole:
                raise ValueError(f"it does not hold channels and macs of every layer of {stage}")
    return content


def widths(runs: Sequence[tuple[int, Mapping[str, Layers]]]) -> list[Widths]:
    """Compare each network with what later stages made of it; what none changed is left out.

    Args:
        runs: Number of each, and its layers by stage, in order.
    """
    made: dict[tuple[str, str], dict[str, tuple[str, list[int]]]] = {}
    have: dict[str, Layers] = {}
    for number, by_stage in runs:
        first = ""
        for stage, layers in by_stage.items():
            shape = _shape(layers)
            have.setdefault(shape, layers)
            if not first or have[first].keys() != layers.keys():  # another network begins
                first, begins = shape, stage
            elif shape != first:
                _, numbers = made.setdefault((begins, first), {}).setdefault(shape, (stage, []))
                if number not in numbers:
                    numbers.append(number)
    return [_table(begins, first, after, have) for (begins, first), after in made.items()]


def _table(
    begins: str,
    first: str,
    after: Mapping[str, tuple[str, Sequence[int]]],
    have: Mapping[str, Layers],
) -> Widths:
    told = {begins: have[first]}
    for shape, (stage, numbers) in after.items():
        runs = "runs" if numbers[1:] else "run"
        told[f"{stage}, {runs} {spans(numbers)}"] = have[shape]
    names = tuple(have[first])
    macs = {who: sum(layer["macs"] for layer in layers.values()) for who, layers in told.items()}
    return Widths(
        begins,
        names,
        {who: tuple(layers[name]["channels"] for name in names) for who, layers in told.items()},
        macs,
        {
            who: tuple(layers[name]["macs"] / max(macs[who], 1) for name in names)
            for who, layers in told.items()
        },
    )


def _shape(layers: Layers) -> str:
    return " ".join(f"{name}:{layer['channels']}" for name, layer in layers.items())
