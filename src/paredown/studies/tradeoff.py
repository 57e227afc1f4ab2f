"""A study: accuracy by sparsity, of removed and of masked channels."""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.errors import require, require_one_of
from paredown.pictures.sheet import bars, save, sheet
from paredown.pictures.words import BARS
from paredown.studies.contract import Job, OpenPath

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Mapping[str, Mapping[float, Mapping[str, float]]]
"""Metrics by technique and amount."""

TECHNIQUES = {"structured": "removed", "masked": "masked"}


@dataclass(frozen=True)
class Tradeoff:
    """Draw the cost of pruning by amount, and compare the savings of one amount.

    Args:
        amount: Of the savings; one of those swept.
    """

    amount: float

    def check(self, settings: Sequence[Mapping[str, str]], stages: Sequence[str]) -> None:
        """Raise ConfigError unless the amount of the savings is swept."""
        for job in settings:
            require_one_of(TECHNIQUES, "prune in this study", job.get("prune"))
        amounts = {float(job["prune.amount"]) for job in settings if job["prune"] == "structured"}
        require(self.amount in amounts, "comparison.amount", "be swept", self.amount)

    def __call__(self, jobs: Sequence[Job], open_path: OpenPath, folder: Path) -> str:
        """Write tradeoff.png and .json; compare the savings of bytes, MACs and latency."""
        groups: dict[str, dict[float, list[Job]]] = {name: defaultdict(list) for name in TECHNIQUES}
        for job in jobs:
            groups[job.settings["prune"]][job.number("prune.amount")].append(job)
        points = {
            name: {amount: _point(by[amount], name) for amount in sorted(by)}
            for name, by in groups.items()
        }
        baseline = jobs[0].row("baseline")
        (folder / "tradeoff.json").write_text(json.dumps(points, indent=1) + "\n")
        point = points["structured"][self.amount]
        lines = [
            *_savings(self.amount, point, baseline["macs"] / baseline["params"]),
            *_masked(points["masked"].get(self.amount)),
            _falls(points, baseline["accuracy"]),
        ]
        _draw(points, baseline, lines[0], folder / "tradeoff.png")
        return "\n".join([*lines, f"see {folder / 'tradeoff.png'}"])


def _point(jobs: Sequence[Job], technique: str) -> dict[str, float]:
    """Return the means over seeds at an amount; the interval of one seed is Wilson's."""
    rows = [job.last for job in jobs]
    first = [job.row("baseline") for job in jobs]
    low, high = ("accuracy", "accuracy") if rows[1:] else ("accuracy_low", "accuracy_high")

    def mean(name: str, rows: Sequence[Mapping[str, Any]] = rows) -> float:
        return statistics.fmean(row[name] for row in rows)

    return {
        "accuracy": mean("accuracy"),
        "accuracy_low": min(row[low] for row in rows),
        "accuracy_high": max(row[high] for row in rows),
        "seeds": len(rows),
        "gone": mean("zeros") if technique == "masked" else mean("sparsity"),
        "bytes": 1 - mean("size_mb") / mean("size_mb", first),
        "macs": 1 - mean("macs") / mean("macs", first),
        "latency": 1 - 1 / mean("speedup"),
        "speedup": mean("speedup"),
    }


def _savings(amount: float, point: Mapping[str, float], reuse: float) -> list[str]:
    """Describe the savings of bytes, MACs and latency, and the reason why they differ.

    `reuse` is the number of MACs per weight of the unpruned network.
    """
    widths = (1 - amount) ** 2
    lines = [
        f"At amount {amount:g} the file saves {point['bytes']:.0%}, its MACs {point['macs']:.0%} "
        f"and its latency {point['latency']:.0%}.",
        f"A layer loses input and output channels, so that (1 - {amount:g})² = {widths:.0%} of its "
        "weights and MACs remain, more where widths are rounded or one side is fixed.",
    ]
    gap = point["macs"] - point["latency"]
    if gap > 0.05:
        lines.append(
            f"Latency falls {100 * gap:.0f} points less than MACs: costs that do not depend on the "
            "channels remain (calls, the first and the last layer), and narrow layers use a core's "
            "vector units less."
        )
    elif gap < -0.05:
        lines.append(
            f"Latency falls {-100 * gap:.0f} points more than MACs: an image uses each weight for "
            f"only {reuse:.1f} MACs, so that fetching weights takes the time, and fewer weights "
            "fit a cache better."
        )
    else:
        lines.append("Latency follows the MACs within 5 points.")
    return lines


def _masked(point: Mapping[str, float] | None) -> list[str]:
    """Describe the savings where the same channels are only masked."""
    if point is None:
        return []
    return [
        f"Masked, with {point['gone']:.0%} of the weights at zero, it saves {point['bytes']:.0%} "
        f"of the bytes and is {point['speedup']:.2f} times as fast."
    ]


def _falls(points: Points, baseline: float) -> str:
    """Return the amounts at which accuracy falls below the baseline's by more than its spread."""
    amounts = [
        f"{TECHNIQUES[name]} at {amount:g}"
        for name, by in points.items()
        for amount, point in by.items()
        if point["accuracy_high"] < baseline
    ]
    where = ", ".join(amounts) or "nowhere, no effect on accuracy is seen here"
    return f"Accuracy is below the baseline's {baseline:.1%} by more than its bars: {where}."


def _draw(points: Points, baseline: Mapping[str, Any], title: str, file: Path) -> None:
    figure, (accuracy, savings) = sheet(title, 2, 5.6, 4.2)
    styles = (("structured", "-o"), ("masked", "--s"))
    for (name, style), color in zip(styles, BARS, strict=False):
        if points[name]:
            _draw_accuracy(accuracy, points[name], name, style, color)
    accuracy.axhline(100 * baseline["accuracy"], color="#30353d", linestyle=":", label="not pruned")
    accuracy.margins(y=0.12)  # for the amounts
    accuracy.set_xlabel("weights removed or zero, %")
    accuracy.set_ylabel("accuracy, validation split, %")
    seeds = max(int(point["seeds"]) for by in points.values() for point in by.values())
    how = f"least to most of {seeds} seeds" if seeds > 1 else "95 % interval of one seed"
    accuracy.set_title(f"at the top: amount; bars: {how}", loc="left", fontsize=10)
    accuracy.legend(frameon=False, fontsize=9, loc="lower left")
    by = points["structured"]
    labels = ("bytes", "-o"), ("MACs", "--s"), ("latency", ":^")
    for (label, style), color in zip(labels, BARS, strict=True):
        saved = [100 * point[label.lower()] for point in by.values()]
        savings.plot(list(by), saved, style, color=color, markersize=5, label=label)
    savings.set_xlabel("amount, share of the channels removed")
    savings.set_ylabel("saved, % of the baseline")
    savings.set_title("savings by removing channels", loc="left", fontsize=10)
    savings.legend(frameon=False, fontsize=9, loc="lower right")
    save(figure, file)


def _draw_accuracy(
    axes: "Axes", by: Mapping[float, Mapping[str, float]], technique: str, style: str, color: str
) -> None:
    """Draw accuracy by sparsity with its spread; the two techniques stand side by side."""
    aside = 0.6 * (1 if technique == "masked" else -1)
    gone = [100 * point["gone"] + aside for point in by.values()]
    middle = [100 * point["accuracy"] for point in by.values()]
    axes.errorbar(
        gone, middle, bars(list(by.values()), "accuracy", 100), fmt=style, color=color, capsize=3,
        markersize=5, label=f"channels {TECHNIQUES[technique]}",
    )  # fmt: skip
    if technique == "structured":
        for amount, x in zip(by, gone, strict=True):
            axes.annotate(
                f"{amount:g}", (x - aside, 1.0), (0, -10), textcoords="offset points",
                xycoords=axes.get_xaxis_transform(), ha="center", fontsize=8,
                bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"},
            )  # fmt: skip
