"""Checks that a network can be pruned, before anything is trained."""

import itertools
import logging
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.prune.channels import Pruning
from paredown.prune.outline import too_coarse

NAMED = 3  # layers per reason, in the log

log = logging.getLogger(__name__)


def require_groups(network: nn.Module, pruning: Pruning) -> None:
    """Raise ConfigError if no channel of a network, which is changed, can go.

    Also if `round_to` is above every layer, or the criterion cannot score one.
    """
    prunable = pruning.find(network)
    if not prunable.groups:
        why = next((f": {name}: {reason}" for name, reason in prunable.fixed.items()), "")
        why = why or " besides the classifier"
        raise ConfigError(f"model must have a layer whose channels can go, got none{why}")
    for reason in dict.fromkeys(prunable.fixed.values()):
        names = [name for name, other in prunable.fixed.items() if other == reason]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        log.info("not pruned: %s%s: %s", ", ".join(names[:NAMED]), more, reason)
    widest = max(prunable.groups, key=lambda group: 0 if group.attention else group.channels)
    if not widest.attention and pruning.round_to >= widest.channels:
        key = "prune.round_to"
        raise ConfigError(too_coarse(key, pruning.round_to, widest.name, widest.channels))
    if not pruning.criterion.gradients[0]:
        pruning.score(network, 0)


def require_fixed_flow(network: nn.Module, dataset: Dataset) -> None:
    """Raise ConfigError, naming the layer, if control flow depends on data.

    Tracing would miss the other branch.
    """
    stack: list[str] = []
    names = {layer: name for name, layer in network.named_modules()}

    def enter(layer: nn.Module, _: Any) -> None:
        stack.append(f"{names[layer] or 'itself'} ({type(layer).__name__})")

    def leave(*_: Any) -> None:
        stack.pop()

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    training = network.training
    try:
        with ExitStack() as hooks, mode, torch.no_grad():
            for layer in names:
                hooks.enter_context(layer.register_forward_pre_hook(enter))
                hooks.enter_context(layer.register_forward_hook(leave))
            device = next(itertools.chain(network.parameters(), [torch.zeros(1)])).device
            network.eval()(torch.zeros(2, *dataset.input_shape, device=device))
    except DataDependentOutputException:
        raise ConfigError(
            f"model must have no data-dependent control flow to be pruned, got {stack[-1]}, which "
            "branches on the values of its input; tracing would miss the other branch"
        ) from None
    finally:
        network.train(training)
