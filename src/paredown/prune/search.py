"""The search for the amount that brings a network within its target, by measuring."""

import copy
import logging
from collections.abc import Callable
from dataclasses import replace

import torch

from paredown.errors import ConfigError
from paredown.model.form import fill_vectors
from paredown.prune.channels import Pruning
from paredown.prune.target import Target
from paredown.variant import Build, Context, CostFn, Variant

log = logging.getLogger(__name__)

MAX_AMOUNT = 1 - 2**-20  # leaves one multiple of every layer
HALVINGS = {"params": 14, "macs": 14, "size_mb": 9, "latency_ms": 9}  # the last two lower each time
NEAR = 0.995  # of the limit: no need to come nearer


def search(
    target: Target, pruning: Pruning, variant: Variant, context: Context
) -> tuple[float, dict[str, float]]:
    """Find the least amount within the target; fine-tuning changes no width.

    Returns:
        The amount, 0 if nothing has to go; and the facts to log: the amount, the limit, and the
        cost before.

    Raises:
        ConfigError: If even the smallest widths cost more.
    """
    scores = pruning.score(copy.deepcopy(variant.module), context.seed)

    def pruned(amount: float) -> Variant:
        module = copy.deepcopy(variant.module)
        pruning.prune(module, amount, scores)
        return replace(variant, module=module)

    assert context.cost_meter is not None
    with context.cost_meter(variant, target.metric) as cost:
        limit = _limit(target, pruning, cost, variant, pruned(MAX_AMOUNT))
        before = cost(variant)
        facts = {f"target_{target.metric}": limit, f"before_{target.metric}": before}
        if before <= limit:
            return 0.0, facts
        amount = _bisect(target.metric, limit, lambda amount: cost(pruned(amount)))
    return amount, {"amount": amount, **facts}


def require_reachable(target: Target, pruning: Pruning, build: Build, context: Context) -> None:
    """Raise ConfigError if no width is within the target, whatever the weights."""
    module = build().eval()
    fill_vectors(module)
    smallest = copy.deepcopy(module)
    zeros = {group.name: torch.zeros(group.units) for group in pruning.find(smallest).groups}
    pruning.prune(smallest, MAX_AMOUNT, zeros)
    original, least = Variant(module, None), Variant(smallest, None)  # type: ignore[arg-type]
    assert context.cost_meter is not None
    with context.cost_meter(original, target.metric) as cost:
        _limit(target, pruning, cost, original, least)


def reached(
    target: Target, before: float, variant: Variant, smaller: Variant, context: Context
) -> dict[str, float]:
    """Return the pruned variant's cost in the target's metric, as a fact to log.

    The machine may have slowed down since the search measured `before`, so only the ratio of the
    two costs is measured now.
    """
    assert context.cost_meter is not None
    with context.cost_meter(variant, target.metric) as cost:
        return {f"reached_{target.metric}": before / cost(variant) * cost(smaller)}


def _limit(
    target: Target, pruning: Pruning, cost: CostFn, variant: Variant, smallest: Variant
) -> float:
    limit, least = target.limit(lambda: cost(variant)), cost(smallest)
    if least > limit:
        raise ConfigError(
            f"prune.target.{target.metric} must be at least {least:.4g}, the smallest that "
            f"prune.round_to={pruning.round_to} allows, got {target.value}"
            + ("" if pruning.round_to == 1 else "; a smaller round_to reaches further")
        )
    return limit


def _bisect(metric: str, limit: float, cost: Callable[[float], float]) -> float:
    """Find the least amount within the limit; MAX_AMOUNT is within it, and 0 is not."""
    low, high = 0.0, MAX_AMOUNT
    for _ in range(HALVINGS[metric]):
        middle = (low + high) / 2
        value = cost(middle)
        log.debug("amount %.4f: %s %.6g for %.6g", middle, metric, value, limit)
        low, high = (low, middle) if value <= limit else (middle, high)
        if limit * NEAR <= value <= limit:
            break
    return high
