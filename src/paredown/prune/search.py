"""Find the amount that brings a network within its target, by measuring."""

import copy
import logging
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from paredown.errors import ConfigError
from paredown.prune.channels import Pruning
from paredown.prune.target import Target
from paredown.variant import Context, Variant, Weigh

log = logging.getLogger(__name__)

MOST = 1 - 2**-20  # leaves one multiple of every layer
HALVINGS = {"params": 14, "macs": 14, "size_mb": 9, "latency_ms": 9}  # the last two lower each time
NEAR = 0.995  # of the limit: no need to come nearer


def search(
    target: Target, pruning: Pruning, variant: Variant, context: Context
) -> tuple[float, dict[str, float]]:
    """Find the least amount that is within the target before recovery, which moves no width.

    Args:
        target: Names one metric.
        pruning: Chooses the channels.
        variant: That is to be pruned.
        context: Knows the runtime.

    Returns:
        The amount, 0 if nothing has to go; and what is told of it: the amount, the limit, and
        what the variant costs before.

    Raises:
        ConfigError: If even the smallest widths cost more.
    """
    scores = pruning.score(copy.deepcopy(variant.module), context.seed)

    def pruned(amount: float) -> Variant:
        module = copy.deepcopy(variant.module)
        pruning.prune(module, amount, scores)
        return replace(variant, module=module)

    assert context.scale is not None
    with context.scale(variant, target.metric) as weigh:
        limit = _limit(target, pruning, weigh, variant, pruned(MOST))
        before = weigh(variant)
        facts = {f"target_{target.metric}": limit, f"before_{target.metric}": before}
        if before <= limit:
            return 0.0, facts
        amount = _halve(target.metric, limit, lambda amount: weigh(pruned(amount)))
    return amount, {"amount": amount, **facts}


def require_reachable(
    target: Target, pruning: Pruning, build: Callable[[], nn.Module], context: Context
) -> None:
    """Raise ConfigError if no width is within the target, whatever the weights.

    Args:
        target: Names one metric.
        pruning: Chooses the channels.
        build: Gives the network with fresh weights.
        context: Knows the runtime.
    """
    module = build().eval()
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)  # an exporter leaves out biases that are all 0
    smallest = copy.deepcopy(module)
    zeros = {group.name: torch.zeros(group.units) for group in pruning.find(smallest).groups}
    pruning.prune(smallest, MOST, zeros)
    given, least = Variant(module, None), Variant(smallest, None)  # type: ignore[arg-type]
    assert context.scale is not None
    with context.scale(given, target.metric) as weigh:
        _limit(target, pruning, weigh, given, least)


def reached(
    target: Target, before: float, variant: Variant, smaller: Variant, context: Context
) -> dict[str, float]:
    """Tell what the variant that was made costs in the target's metric.

    Args:
        target: Names the metric.
        before: What the variant cost when the amount was searched: a machine may have slowed
            down since, and what counts is the ratio.
        variant: That was pruned.
        smaller: What came of it.
        context: Knows the runtime.
    """
    assert context.scale is not None
    with context.scale(variant, target.metric) as weigh:
        return {f"reached_{target.metric}": before / weigh(variant) * weigh(smaller)}


def _limit(
    target: Target, pruning: Pruning, weigh: Weigh, variant: Variant, smallest: Variant
) -> float:
    limit, least = target.limit(lambda: weigh(variant)), weigh(smallest)
    if least > limit:
        raise ConfigError(
            f"prune.target.{target.metric} must be at least {least:.4g}, the smallest that "
            f"prune.round_to={pruning.round_to} allows, got {target.asked}"
            + ("" if pruning.round_to == 1 else "; a smaller round_to reaches further")
        )
    return limit


def _halve(metric: str, limit: float, cost: Callable[[float], float]) -> float:
    """Find the least amount within the limit; MOST is, and 0 is not."""
    low, high = 0.0, MOST
    for _ in range(HALVINGS[metric]):
        middle = (low + high) / 2
        value = cost(middle)
        log.debug("amount %.4f: %s %.6g for %.6g", middle, metric, value, limit)
        low, high = (low, middle) if value <= limit else (middle, high)
        if limit * NEAR <= value <= limit:
            break
    return high
