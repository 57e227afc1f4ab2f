"""Networks that cannot be pruned, told from those that can before anything is trained."""

import itertools
import logging
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.prune.channels import Pruning

NAMED = 3  # layers of one reason, in the log

log = logging.getLogger(__name__)


def require_groups(network: nn.Module, pruning: Pruning) -> None:
    """Refuse a network of which nothing can be pruned, or that cannot be pruned right.

    Args:
        network: It is changed; its weights do not matter.
        pruning: Has a criterion that can score its layers, and rounds their widths.

    Raises:
        ConfigError: If nothing of it can be pruned, with the reason, or `round_to` is above every
            layer, or the criterion cannot score one.
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
    widest = max(
        prunable.groups, key=lambda group: 0 if (group.attention is not None) else group.channels
    )
    round_to = pruning.round_to
    if not widest.attention and round_to >= widest.channels:
        raise ConfigError(
            f"prune.round_to must be below {widest.channels}, the channels of the widest layer, "
            f"{widest.name}, got {round_to}; no layer would lose a channel"
        )
    if not pruning.criterion.gradients[0]:
        pruning.score(network, 0)


def require_fixed_flow(network: nn.Module, dataset: Dataset) -> None:
    """Refuse a network that decides by values what it does: tracing misses the other branch.

    Raises:
        ConfigError: Naming the part that decides.
    """
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
