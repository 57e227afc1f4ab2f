"""A study: the accuracy that is left after one group of layers is pruned alone."""

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paredown.dataset import Dataset
from paredown.errors import require
from paredown.measure.quality import accuracy
from paredown.pictures.sensitivity import Sensitive, sensitivity_picture
from paredown.prune.criterion import Criterion
from paredown.prune.outline import require_rounding
from paredown.runtime.torch import eager

if TYPE_CHECKING:
    from torch import nn

    from paredown.run.path import VariantPath
    from paredown.variant import Stage


@dataclass(frozen=True)
class Sensitivity:
    """Prune one group at a time of the network at the end of the path, without fine-tuning.

    Accuracies are eager PyTorch's on the validation split: nothing here ships.

    Args:
        criterion: Scores the channels.
        amounts: Fractions of a group's channels, in (0, 1).
        round_to: The number of remaining channels is a multiple of this.
    """

    criterion: Criterion
    amounts: list[float]
    round_to: int

    def __post_init__(self) -> None:
        ok = len(self.amounts) > 0 and all(0 < amount < 1 for amount in self.amounts)
        require(ok, "amounts", "be a list of fractions in (0, 1)", self.amounts)
        require(self.round_to >= 1, "round_to", "be at least 1 channel", self.round_to)

    def check(self, stages: "Mapping[str, Stage]", network: "nn.Module") -> None:
        """Raise ConfigError if no channel of the last network can be removed; see `Study`."""
        require_rounding(self.round_to, lambda: network, "study.round_to")

    def __call__(self, path: "VariantPath", folder: Path) -> str:
        """Write sensitivity.png, .json and .md into the folder; name the most sensitive groups."""
        from paredown.prune.channels import Pruning

        dataset, module = path.dataset, path.variant(len(path.names) - 1).module
        pruning = Pruning(self.criterion, "local", self.round_to, dataset)
        scored = copy.deepcopy(module)
        scores = pruning.score(scored, path.seed)
        original, amounts = _accuracy(module, dataset), sorted(self.amounts)
        groups = []
        for group in pruning.find(scored).groups:
            accuracies = []
            for amount in amounts:
                smaller = copy.deepcopy(module)
                pruning.prune(smaller, amount, scores, only=group.name)
                accuracies.append(_accuracy(smaller, dataset))
            groups.append(Sensitive(group.name, group.channels, tuple(accuracies)))
        title = f"{path.name}, one group pruned at a time, without fine-tuning; {dataset.name}"
        sensitivity_picture(title, amounts, original, groups, folder / "sensitivity.png")
        table = {"whole": original, "amounts": amounts, "groups": [asdict(row) for row in groups]}
        (folder / "sensitivity.json").write_text(json.dumps(table, indent=1) + "\n")
        (folder / "sensitivity.md").write_text(_markdown(amounts, groups))
        return _summary(amounts, groups, folder)


def _accuracy(module: "nn.Module", dataset: Dataset) -> float:
    return accuracy(eager(module), dataset, dataset.val)["accuracy"]


def _markdown(amounts: list[float], groups: list[Sensitive]) -> str:
    lines = ["| group | channels | " + " | ".join(f"{amount:g}" for amount in amounts) + " |"]
    lines.append("|---" * (2 + len(amounts)) + "|")
    for group in groups:
        cells = " | ".join(f"{accuracy:.2%}" for accuracy in group.accuracies)
        lines.append(f"| {group.name} | {group.channels} | {cells} |")
    return "\n".join(lines) + "\n"


def _summary(amounts: list[float], groups: list[Sensitive], folder: Path) -> str:
    worst = sorted(groups, key=lambda group: sum(group.accuracies))[:3]
    middle = len(amounts) // 2
    accuracies = ", ".join(f"{group.name} {group.accuracies[middle]:.1%}" for group in worst)
    return (
        f"{len(groups)} groups pruned one at a time; at amount {amounts[middle]:g} the most "
        f"sensitive leave an accuracy of: {accuracies}\nsee {folder / 'sensitivity.png'}"
    )
