"""The table of docs/habits.md: what of networks with one habit each can be pruned, and what stays.

python benchmarks/habits.py > table.md     about 2 minutes; the networks are untrained
"""

import sys
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from habits import HABITS, Habit

from paredown.dataset import Dataset
from paredown.dataset.digits import Digits
from paredown.errors import ConfigError
from paredown.measure import footprint
from paredown.model.check import require_valid_model
from paredown.model.custom import Custom
from paredown.prune.channels import Pruning
from paredown.prune.criterion.magnitude import Magnitude
from paredown.prune.groups import PruningGroups
from paredown.prune.network import require_fixed_flow, require_groups
from paredown.runtime.export import require_exportable


def main() -> None:
    """Print a row a network."""
    warnings.simplefilter("ignore")
    dataset = Digits(split_seed=0, crop=2).load()
    print("| network | habit | groups | parameters at 0.5 | what stays, and why; or the refusal |")
    print("|---|---|---|---|---|")
    for name, habit in HABITS.items():
        words = " ".join((habit.network.__doc__ or "").split()).replace("|", "\\|")
        try:
            row = _row(name, habit, dataset)
        except ConfigError as refusal:
            row = f"refused | | {' '.join(str(refusal).split())[:200]}".replace("<", "&lt;")
        print(f"| {name} | {words} | {row} |", flush=True)


def _row(name: str, habit: Habit, dataset: Dataset) -> str:
    """Check and prune one network.

    Raises:
        ConfigError: If it is refused.
    """
    source = Custom(name, f"{habit.network.__module__}.{name}", None)
    require_exportable(require_valid_model(source, dataset), dataset.input_shape)
    torch.manual_seed(0)
    module = source.build(len(dataset.classes), dataset.input_shape).eval()
    pruning = Pruning(Magnitude(2), "local", 4, dataset)
    require_fixed_flow(module, dataset)
    found = pruning.find(module)
    require_groups(module, pruning)
    before = footprint.params(module)
    pruning.prune(module, 0.5, pruning.score(module, 0))
    heads = sum(group.attention is not None for group in found.groups)
    groups = f"{len(found.groups)}" + (f", {heads} of heads" if heads else "")
    return f"{groups} | {footprint.params(module) / before:.0%} | {_left(found)}"


def _left(found: PruningGroups) -> str:
    reasons = dict.fromkeys(found.fixed.values())
    return "; ".join(
        f"{', '.join(name for name, why in found.fixed.items() if why == reason)}: {reason}"
        for reason in reasons
    )


if __name__ == "__main__":
    main()
