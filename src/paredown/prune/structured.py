"""Structured pruning: remove the channels that score lowest, then fine-tune."""

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from paredown.errors import require
from paredown.prune.pruner import ChannelPruner, require_amount, unchanged
from paredown.prune.target import Target
from paredown.training import Training
from paredown.variant import Build, Context, Variant

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Structured(ChannelPruner):
    """Remove the channels that score lowest, then fine-tune.

    Source: groups of layers: Fang et al., DepGraph, 2023, arXiv 2301.12900; in steps: Molchanov
    et al., Pruning Convolutional Neural Networks for Resource Efficient Inference, 2016, arXiv
    1611.06440; rewinding: Frankle et al., Stabilizing the Lottery Ticket Hypothesis, 2019, arXiv
    1903.01611.

    Args:
        amount: Fraction of the channels to remove, [0, 1); null: as much as the target needs.
            Parameters fall by about 1 - (1 - amount)^2. 0 leaves the network as it is and trains
            nothing.
        target: The file's highest cost, instead of an amount.
        steps: Rounds of pruning, each followed by its share of the epochs.
        rewind: Epochs of the training before to which the surviving weights are reset; null:
            they stay as they are.
    """

    note: ClassVar[str] = ""

    amount: float | None
    target: Target
    steps: int
    rewind: int | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target.metric:
            rule, hint = f"be null beside prune.target.{self.target.metric}", "give one of them"
            require(self.amount is None, "amount", rule, self.amount, hint)
        else:
            require(self.amount is not None, "amount", "be given, or a prune.target", None)
            require_amount(self.amount or 0.0)
        require(self.steps >= 1, "steps", "be at least 1", self.steps)
        rule = f"be 0 or at least steps={self.steps}, one epoch per step"
        require(self.epochs == 0 or self.epochs >= self.steps, "epochs", rule, self.epochs)
        valid = self.rewind is None or self.rewind >= 0
        require(valid, "rewind", "be at least 0 epochs, or null", self.rewind)

    @property
    def label(self) -> str:
        """Such as prune0.30 or prune_macs25pct."""
        return f"prune_{self.target.label}" if self.amount is None else f"prune{self.amount:.2f}"

    @property
    def measures(self) -> bool:
        """Whether the widths depend on the files that a runtime makes."""
        return self.target.metric in ("size_mb", "latency_ms")

    def check_cheaply(self, outline: Build, before: Training | None) -> None:
        """Raise ConfigError if `rewind` or `round_to` cannot be met; see `variant`."""
        if self.rewind is not None:
            epochs = before.epochs if before else 0
            rule = f"be at most {epochs}, the epochs of the training before"
            require(self.rewind <= epochs, "prune.rewind", rule, self.rewind)
        super().check_cheaply(outline, before)

    def check(self, build: Build, context: Context, before: Training | None) -> None:
        """Raise ConfigError if the network cannot reach the settings; see `variant.Checks`."""
        from paredown.prune.search import require_reachable

        super().check(build, context, before)
        if self.target.metric:
            require_reachable(self.target, self.pruning(context), build, context)

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a smaller copy of the variant's network, fine-tuned."""
        assert variant is not None
        facts: dict[str, float] = {}
        amount = self.amount
        if amount is None:
            from paredown.prune.search import reached, search

            amount, facts = search(self.target, self.pruning(context), variant, context)
        if amount == 0:
            return replace(unchanged(variant), facts=facts)
        module = copy.deepcopy(variant.module)
        curves = self._shrink(module, amount, context)
        smaller = replace(variant, module=module, curves=curves, facts=facts)
        if self.amount is None:
            before = facts[f"before_{self.target.metric}"]
            facts |= reached(self.target, before, variant, smaller, context)
            log.info("%s: %s", context.title, ", ".join(f"{k} {v:.6g}" for k, v in facts.items()))
        return smaller

    def _shrink(
        self, module: "nn.Module", amount: float, context: Context
    ) -> tuple[Mapping[str, float], ...]:
        """Prune in place and fine-tune, step by step; return the training curves."""
        pruning = self.pruning(context)
        original = pruning.find(module).widths
        rewound: nn.Module | None = None
        if self.rewind is not None and context.trains:
            assert context.early is not None
            rewound = context.early(self.rewind)
        curves: list[Mapping[str, float]] = []
        for step in range(self.steps):
            step_context = replace(context, seed=context.seed + step)
            part = amount * (step + 1) / self.steps
            scores = pruning.score(module, step_context.seed)
            cuts = pruning.prune(module, part, scores, original)
            if rewound is not None:
                pruning.apply_same(rewound, cuts)
                module.load_state_dict(rewound.state_dict())
            epochs = self.epochs * (step + 1) // self.steps - self.epochs * step // self.steps
            curves += self.finetune(module, step_context, epochs)
        return tuple(curves)
