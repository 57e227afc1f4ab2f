"""The table of docs/zoo.md: what of torchvision's classifiers can be pruned, and what stays.

python benchmarks/zoo.py > table.md     about 5 minutes on two cores; the network is untrained
"""

import sys
from copy import deepcopy
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from test_zoo import noise
from zoo import QUICK, WHOLE

from paredown.measure import footprint
from paredown.model.torchvision import Torchvision
from paredown.prune.channels import Pruning
from paredown.prune.criterion.magnitude import Magnitude


def main() -> None:
    """Print a row a network."""
    print("| network | image | groups | parameters at 0.5 | MACs at 0.5 | what stays, and why |")
    print("|---|---|---|---|---|---|")
    for name, size in sorted({**QUICK, **WHOLE}.items()):
        dataset = noise(size)
        torch.manual_seed(0)
        whole = Torchvision(name).build(10, dataset.input_shape).eval()
        pruning = Pruning(Magnitude(2), "local", 8, dataset)
        module = deepcopy(whole)
        found = pruning.find(module)
        pruning.prune(module, 0.5, pruning.score(module, 0))
        counts = (
            footprint.params(module) / footprint.params(whole),
            footprint.macs(module, dataset.input_shape)
            / footprint.macs(whole, dataset.input_shape),
        )
        reasons = dict.fromkeys(found.fixed.values())
        told = "; ".join(
            f"{sum(reason == own for own in found.fixed.values())} groups: {reason}"
            for reason in reasons
        )
        heads = sum(group.attention is not None for group in found.groups)
        groups = f"{len(found.groups)}" + (f", {heads} of heads" if heads else "")
        shares = " | ".join(f"{count:.1%}" for count in counts)
        print(
            f"| {name} | {size} | {groups} | {shares} | {told or 'the classifier only'} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
