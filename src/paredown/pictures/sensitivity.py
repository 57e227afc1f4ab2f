"""The picture of the accuracy that pruning each group of layers costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paredown.pictures.sheet import save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTER = 8  # points of 1/72 inch
ROW, LEAST = 0.26, 4.2  # inches of height: of a group, of all
LABELLED = (("o", "-"), ("s", "--"), ("^", "-."), ("D", ":"))  # told apart without colour


@dataclass(frozen=True)
class Sensitive:
    """A group of layers that was pruned alone.

    Args:
        name: Of the group.
        channels: Before.
        accuracies: On the validation split, one per amount, without fine-tuning.
    """

    name: str
    channels: int
    accuracies: tuple[float, ...]


def sensitivity_picture(
    title: str, amounts: Sequence[float], unpruned: float, groups: Sequence[Sensitive], file: Path
) -> None:
    """Draw accuracy by rising amount, one line and one row per group, as a PNG."""
    figure, (lines, table) = sheet(title, 2, 6, max(LEAST, 1.4 + ROW * len(groups)), head=0)
    _draw_lines(lines, amounts, unpruned, groups)
    _draw_table(table, amounts, groups)
    save(figure, file)


def _draw_lines(
    axes: "Axes", amounts: Sequence[float], unpruned: float, groups: Sequence[Sensitive]
) -> None:
    worst = sorted(groups, key=lambda group: sum(group.accuracies))[: len(LABELLED)]
    for group in groups:
        axes.plot(amounts, [100 * value for value in group.accuracies], color="#b9bec6", lw=1)
    for group, (marker, dashes) in zip(worst, LABELLED, strict=False):
        values = [100 * value for value in group.accuracies]
        axes.plot(amounts, values, dashes, marker=marker, ms=4, color="#1f2430", label=group.name)
    axes.axhline(100 * unpruned, color="#5b6472", lw=1, ls=(0, (6, 3)), label="nothing pruned")
    axes.set_xlabel("amount: fraction of the group's channels removed")
    axes.set_ylabel("accuracy on the validation split, %")
    axes.set_ylim(0, 102)
    axes.set_xticks(amounts)
    axes.legend(  # below the axis, where no line passes
        fontsize=LETTER,
        frameon=False,
        title="the most sensitive",
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        ncols=3,
    )


def _draw_table(axes: "Axes", amounts: Sequence[float], groups: Sequence[Sensitive]) -> None:
    values = [[100 * value for value in group.accuracies] for group in groups]
    axes.grid(visible=False)
    axes.spines[["top", "right"]].set_visible(True)
    image = axes.imshow(values, cmap="gray", vmin=0, vmax=100, aspect="auto")
    for row, accuracies in enumerate(values):
        for column, value in enumerate(accuracies):
            color = "white" if value < 50 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=LETTER,
                      color=color)  # fmt: skip
    axes.set_xticks(range(len(amounts)), [f"{amount:g}" for amount in amounts])
    names = [f"{group.name} ({group.channels})" for group in groups]
    axes.set_yticks(range(len(groups)), names, fontsize=LETTER)
    axes.set_xlabel("amount")
    axes.set_title("accuracy, %, by group (its channels), in the order of the network", fontsize=9)
    axes.figure.colorbar(image, ax=axes, label="accuracy, %", shrink=0.8)
