"""A study: whether the order of distillation, pruning and training for int8 matters."""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paredown.errors import require
from paredown.measure.statistics import mean_margin
from paredown.pictures.sheet import save, sheet
from paredown.pictures.words import BARS
from paredown.studies.contract import Job, OpenPath

SWEPT = "technique.stages"


@dataclass(frozen=True)
class Order:
    """Compare orders of stages, paired by seed, by the accuracy of the int8 file.

    Args:
        recipe: The order that is tested, as in technique.stages.
        letters: Of the stages that are reordered, by name.
    """

    recipe: list[str]
    letters: Mapping[str, str]

    def check(self, settings: Sequence[Mapping[str, str]], stages: Sequence[str]) -> None:
        """Raise ConfigError unless orders are swept, and the recipe is one of them."""
        orders = {self._short(_stages(job.get(SWEPT, ""))) for job in settings}
        recipe = self._short(self.recipe)
        require(recipe in orders, "comparison.recipe", f"be one of {sorted(orders)}", recipe)

    def __call__(self, jobs: Sequence[Job], open_path: OpenPath, folder: Path) -> str:
        """Write order.png and order.json; compare the recipe with the other orders."""
        accuracies: dict[str, dict[str, float]] = defaultdict(dict)
        for job in jobs:
            order = self._short(_stages(job.settings[SWEPT]))
            accuracies[order][job.settings.get("seed", "0")] = job.last["accuracy"]
        recipe = self._short(self.recipe)
        (folder / "order.json").write_text(json.dumps(accuracies, indent=1) + "\n")
        legend = ", ".join(f"{letter}: {name}" for name, letter in self.letters.items())
        _draw(accuracies, recipe, legend, folder / "order.png")
        return f"{_summary(accuracies, recipe)}\nsee {folder / 'order.png'}"

    def _short(self, stages: Sequence[str]) -> str:
        return "".join(self.letters[name] for name in stages if name in self.letters)


def _stages(text: str) -> list[str]:
    return text.strip("[]").replace(" ", "").split(",")


def _summary(accuracies: Mapping[str, Mapping[str, float]], recipe: str) -> str:
    means = {order: statistics.fmean(by_seed.values()) for order, by_seed in accuracies.items()}
    ranked = sorted(means, key=lambda order: -means[order])
    lines = ["Mean accuracy of the int8 file: " + ", ".join(f"{o} {means[o]:.2%}" for o in ranked)]
    significant = []
    for order, by_seed in accuracies.items():
        gains = [accuracies[recipe][seed] - accuracy for seed, accuracy in by_seed.items()]
        gain, margin = mean_margin(gains)
        if order != recipe and gains[1:] and abs(gain) > margin:
            sign, points = "better" if gain > 0 else "worse", f"{100 * abs(gain):.2f}"
            significant.append(
                f"{recipe} is {sign} than {order} by {points} ± {100 * margin:.2f} points"
            )
    place = ranked.index(recipe) + 1
    lines.append(f"{recipe} comes out number {place} of {len(ranked)}.")
    lines.append(
        "; ".join(significant) + " (95 %, paired by seed)."
        if significant
        else "Paired by seed, it differs from no other order beyond the 95 % intervals: "
        "no effect of the order is seen here."
    )
    return "\n".join(lines)


def _draw(
    accuracies: Mapping[str, Mapping[str, float]], recipe: str, legend: str, file: Path
) -> None:
    figure, (axes,) = sheet(f"the order of the stages: {legend}", 1, 7.2, 4)
    ranked = sorted(accuracies, key=lambda order: -statistics.fmean(accuracies[order].values()))
    for index, order in enumerate(ranked):
        spots = [100 * value for value in accuracies[order].values()]
        mine = order == recipe
        places = [index + 0.1 * (seed - (len(spots) - 1) / 2) for seed in range(len(spots))]
        axes.plot(
            places, spots, "o" if mine else "s", color=BARS[0] if mine else "#8b929c",
            markersize=6, alpha=0.8,
        )  # fmt: skip
        mean = statistics.fmean(spots)
        axes.plot([index - 0.25, index + 0.25], [mean, mean], color="#30353d", linewidth=2)
    axes.set_xticks(range(len(ranked)), ranked)
    axes.set_xlabel("order, the best mean first")
    axes.set_ylabel("accuracy of the int8 file, validation split, %")
    axes.set_title(
        "marks: one per seed, round for the recipe; lines: means", loc="left", fontsize=10
    )
    save(figure, file)
