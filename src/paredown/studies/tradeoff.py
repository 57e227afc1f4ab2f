"""A study: accuracy against sparsity, channels removed beside channels masked."""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.errors import require, require_one_of
from paredown.pictures.words import BARS
from paredown.studies.contract import Job, OpenPath

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Mapping[str, Mapping[float, Mapping[str, float]]]
"""Figures by way and amount."""

WAYS = {"structured": "removed", "masked": "masked"}


@dataclass(frozen=True)
class Tradeoff:
    """Draw what pruning costs by amount, and weigh what one amount saves.

    Args:
        amount: That the savings are told of, one of those swept.
    """

    amount: float

    def check(self, settings: Sequence[Mapping[str, str]], stages: Sequence[str]) -> None:
        """Raise ConfigError unless an amount is there that the savings are told of."""
        for job in settings:
            require_one_of(WAYS, "prune in this study", job.get("prune"))
        amounts = {float(job["prune.amount"]) for job in settings if job["prune"] == "structured"}
        require(self.amount in amounts, "comparison.amount", "be swept", self.amount)

    def __call__(self, jobs: Sequence[Job], open_path: OpenPath, folder: Path) -> str:
        """Write tradeoff.png and .json; reconcile bytes, MACs and latency in words."""
        kept: dict[str, dict[float, list[Job]]] = {way: defaultdict(list) for way in WAYS}
        for job in jobs:
            kept[job.settings["prune"]][job.number("prune.amount")].append(job)
        points = {
            way: {amount: _point(by[amount], way) for amount in sorted(by)}
            for way, by in kept.items()
        }
        whole = jobs[0].row("baseline")
        (folder / "tradeoff.json").write_text(json.dumps(points, indent=1) + "\n")
        at = points["structured"][self.amount]
        told = "\n".join(
            [
                *_savings(self.amount, at, whole["macs"] / whole["params"]),
                *_masked(points["masked"].get(self.amount)),
                _falls(points, whole["accuracy"]),
            ]
        )
        _draw(points, whole, told.partition("\n")[0], folder / "tradeoff.png")
        return f"{told}\nsee {folder / 'tradeoff.png'}"


def _point(jobs: Sequence[Job], way: str) -> dict[str, float]:
    """Give the mean over seeds of what an amount came to; one seed has its Wilson interval."""
    rows = [job.last for job in jobs]
    first = [job.row("baseline") for job in jobs]
    low, high = min(row["accuracy_low"] for row in rows), max(row["accuracy_high"] for row in rows)
    if rows[1:]:
        low, high = min(row["accuracy"] for row in rows), max(row["accuracy"] for row in rows)

    def mean(name: str, of: Sequence[Mapping[str, Any]] = rows) -> float:
        return statistics.fmean(row[name] for row in of)

    return {
        "accuracy": mean("accuracy"),
        "accuracy_low": low,
        "accuracy_high": high,
        "seeds": len(rows),
        "gone": mean("zeros") if way == "masked" else mean("sparsity"),
        "bytes": 1 - mean("size_mb") / mean("size_mb", first),
        "macs": 1 - mean("macs") / mean("macs", first),
        "latency": 1 - 1 / mean("speedup"),
        "speedup": mean("speedup"),
    }


def _savings(amount: float, at: Mapping[str, float], reuse: float) -> list[str]:
    """Reconcile the three savings, from the numbers.

    Args:
        amount: That they are told of.
        at: What was saved there.
        reuse: MACs a weight of the whole network.
    """
    widths = (1 - amount) ** 2
    lines = [
        f"At amount {amount:g} the file saves {at['bytes']:.0%}, its MACs {at['macs']:.0%} and its "
        f"latency {at['latency']:.0%}.",
        f"A layer loses channels at both ends, so that (1 - {amount:g})² = {widths:.0%} of its "
        "weights and MACs stay, more where widths are rounded or an end is fixed.",
    ]
    gap = at["macs"] - at["latency"]
    if gap > 0.05:
        lines.append(
            f"Latency falls {100 * gap:.0f} points less than MACs: what does not depend on the "
            "channels stays (calls, the first and the last layer), and narrow layers tend to fill "
            "a core's vectors less."
        )
    elif gap < -0.05:
        lines.append(
            f"Latency falls {-100 * gap:.0f} points more than MACs: an image uses each weight for "
            f"{reuse:.1f} MACs only, so that the time goes into fetching weights, and fewer of "
            "them stay in a cache."
        )
    else:
        lines.append("Latency follows the MACs within 5 points.")
    return lines


def _masked(at: Mapping[str, float] | None) -> list[str]:
    """Say what the same channels save where they are only masked."""
    if at is None:
        return []
    return [
        f"Masked, with {at['gone']:.0%} of the weights at zero, it saves {at['bytes']:.0%} of the "
        f"bytes and is {at['speedup']:.2f} times as fast."
    ]


def _falls(points: Points, whole: float) -> str:
    """Say at which amounts accuracy falls below the network's own by more than its spread."""
    fallen = [
        f"{WAYS[way]} at {amount:g}"
        for way, by in points.items()
        for amount, point in by.items()
        if point["accuracy_high"] < whole
    ]
    where = ", ".join(fallen) or "nowhere, no effect on accuracy is seen here"
    return f"Accuracy is below the network's own {whole:.1%} by more than its bars: {where}."


def _draw(points: Points, whole: Mapping[str, Any], title: str, file: Path) -> None:
    from paredown.pictures.sheet import save, sheet

    figure, (accuracy, savings) = sheet(title, 2, 5.6, 4.2)
    for (way, style), color in zip((("structured", "-o"), ("masked", "--s")), BARS, strict=False):
        if points[way]:
            _draw_accuracy(accuracy, points[way], way, style, color)
    accuracy.axhline(100 * whole["accuracy"], color="#30353d", linestyle=":", label="not pruned")
    accuracy.margins(y=0.12)  # the amounts are written there
    accuracy.set_xlabel("weights gone or zero, %")
    accuracy.set_ylabel("accuracy, validation split, %")
    seeds = max(int(point["seeds"]) for by in points.values() for point in by.values())
    how = f"least to most of {seeds} seeds" if seeds > 1 else "95 % interval of one seed"
    accuracy.set_title(f"at the top: amount; bars: {how}", loc="left", fontsize=10)
    accuracy.legend(frameon=False, fontsize=9, loc="lower left")
    by = points["structured"]
    for (name, style), color in zip(
        (("bytes", "-o"), ("macs", "--s"), ("latency", ":^")), BARS, strict=True
    ):
        saved = [100 * point[name] for point in by.values()]
        label = {"macs": "MACs"}.get(name, name)
        savings.plot(list(by), saved, style, color=color, markersize=5, label=label)
    savings.set_xlabel("amount, share of the channels removed")
    savings.set_ylabel("saved, % of the network's own")
    savings.set_title("what removing channels saves", loc="left", fontsize=10)
    savings.legend(frameon=False, fontsize=9, loc="lower right")
    save(figure, file)


def _draw_accuracy(
    axes: "Axes", by: Mapping[float, Mapping[str, float]], way: str, style: str, color: str
) -> None:
    """Draw accuracy by what is gone, each point with its spread; the two ways beside each other."""
    aside = 0.6 * (1 if way == "masked" else -1)
    gone = [100 * point["gone"] + aside for point in by.values()]
    middle = [100 * point["accuracy"] for point in by.values()]
    spread = [
        [100 * (point["accuracy"] - point["accuracy_low"]) for point in by.values()],
        [100 * (point["accuracy_high"] - point["accuracy"]) for point in by.values()],
    ]
    label = f"channels {WAYS[way]}"
    axes.errorbar(
        gone, middle, spread, fmt=style, label=label, color=color, capsize=3, markersize=5
    )
    if way == "structured":
        for amount, x in zip(by, gone, strict=True):
            axes.annotate(
                f"{amount:g}", (x - aside, 1.0), (0, -10), textcoords="offset points",
                xycoords=axes.get_xaxis_transform(), ha="center", fontsize=8,
                bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"},
            )  # fmt: skip
