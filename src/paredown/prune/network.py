"""Networks that cannot be pruned, told from those that can before anything is trained."""

import itertools
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from paredown.dataset import Dataset
from paredown.errors import ConfigError, first_line
from paredown.prune.channels import Pruning
from paredown.prune.groups import Found


def require_prunable(network: nn.Module, dataset: Dataset, recovers: bool) -> None:
    """Refuse a network that would come out broken.

    Args:
        network: Of the shape that it will have; on the meta device, its weights do not matter.
        dataset: Says what it takes and gives.
        recovers: Whether its weights are to be fitted afterwards.

    Raises:
        ConfigError: If it ties weights, has frozen ones that would be fitted, or decides by
            values what it does.
    """
    named = list(network.named_parameters(remove_duplicate=False))
    owners: dict[int, str] = {}
    for name, parameter in named:
        first = owners.setdefault(id(parameter), name)
        if first != name:
            raise ConfigError(
                f"model must not tie weights that are pruned, got {first} and {name}, which are "
                "one tensor; give each layer its own"
            )
    frozen = [name for name, parameter in named if not parameter.requires_grad]
    if frozen and recovers:
        raise ConfigError(
            f"model must have no frozen parameters where recovery is to fit them, got {frozen[0]}"
            f" and {len(frozen) - 1} more; unfreeze them, or prune with prune.epochs=0"
        )
    _require_fixed_flow(network, dataset)


def require_groups(network: nn.Module, pruning: Pruning) -> None:
    """Refuse a network of which nothing can be pruned, or that cannot be pruned right.

    Args:
        network: It is changed; on the meta device, its weights do not matter.
        pruning: Has a criterion that can score its layers, and rounds their widths.

    Raises:
        ConfigError: If nothing of it can be pruned, with the reason, or `round_to` is above every
            layer, or the criterion cannot score one, or what is left of it does not fit together.
    """
    found = pruning.find(network)
    if not found.groups:
        why = next((f": {name}: {reason}" for name, reason in found.fixed.items()), "")
        why = why or " besides the classifier"
        raise ConfigError(f"model must have a layer whose channels can go, got none{why}")
    widest = max(
        found.groups, key=lambda group: 0 if (group.attention is not None) else group.channels
    )
    round_to = pruning.round_to
    if not widest.attention and round_to >= widest.channels:
        raise ConfigError(
            f"prune.round_to must be below {widest.channels}, the channels of the widest layer, "
            f"{widest.name}, got {round_to}; no layer would lose a channel"
        )
    if not pruning.criterion.gradients[0]:
        pruning.score(network, 0)
    _require_fitting_shapes(network, pruning, found)


def _require_fitting_shapes(network: nn.Module, pruning: Pruning, found: Found) -> None:
    """Prune as much as can be, and see that the layers still fit each other."""
    device = next(network.parameters()).device
    scores = {group.name: torch.zeros(group.units) for group in found.groups}
    try:
        pruning.prune(network, 1 - 2**-20, scores)
        with torch.no_grad():
            network.eval()(torch.zeros(2, *pruning.dataset.input_shape, device=device))
    except (RuntimeError, ValueError, IndexError) as error:
        told = first_line(error)
        raise ConfigError(
            "model must have layers that fit each other after channels went, got one whose "
            f"forward pass fails then: {told}"
        ) from None


def _require_fixed_flow(network: nn.Module, dataset: Dataset) -> None:
    """Run the network without values: what it decides by them is what tracing would miss."""
    stack: list[str] = []
    names = {part: name for name, part in network.named_modules()}

    def enter(part: nn.Module, _: Any) -> None:
        stack.append(f"{names[part] or 'itself'} ({type(part).__name__})")

    def leave(*_: Any) -> None:
        stack.pop()

    before = [part.register_forward_pre_hook(enter) for part in names]
    after = [part.register_forward_hook(leave) for part in names]
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    training = network.training
    try:
        with mode, torch.no_grad():
            device = next(itertools.chain(network.parameters(), [torch.zeros(1)])).device
            network.eval()(torch.zeros(2, *dataset.input_shape, device=device))
    except DataDependentOutputException:
        raise ConfigError(
            f"model must do the same for every image to be pruned, got {stack[-1]}, which decides "
            "by the values of its input; no dependency can be read off the other branch"
        ) from None
    finally:
        network.train(training)
        for hook in (*before, *after):
            hook.remove()
