"""Structured pruning: drop the weakest channels, then fine-tune what is left."""

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from paredown.errors import require
from paredown.prune.criterion import Criterion, ranked, require_scope
from paredown.prune.outline import require_rounding
from paredown.prune.pruner import Pruner, require_amount, unchanged
from paredown.prune.target import Target
from paredown.training import Training
from paredown.variant import Build, Context, Variant

if TYPE_CHECKING:
    from torch import nn

    from paredown.prune.channels import Pruning


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Structured(Pruner):
    """Remove the channels that the criterion holds for the least, and recover.

    Source: groups of layers: Fang et al., DepGraph, 2023, arXiv 2301.12900; in steps: Molchanov
    et al., Pruning Convolutional Neural Networks for Resource Efficient Inference, 2016, arXiv
    1611.06440; rewinding: Frankle et al., Stabilizing the Lottery Ticket Hypothesis, 2019, arXiv
    1903.01611.

    Args:
        criterion: Scores the channels.
        amount: Fraction of the channels to remove, [0, 1); null: what the target needs.
            Parameters fall by about 1 - (1 - amount)^2. 0 leaves the network as it is and trains
            nothing.
        target: What the file may cost at most, in the place of an amount.
        scope: What is ranked together: the channels of one layer (local), of all (global), or of
            all layers that are made alike (isomorphic); null: the first that suits the criterion.
        round_to: Kept channels are a multiple of this.
        steps: Rounds of pruning, each followed by its share of the epochs.
        rewind: Epochs of the training before, after which the surviving weights are taken; null:
            they stay as they are.
    """

    note: ClassVar[str] = ""

    criterion: Criterion
    amount: float | None
    target: Target
    scope: str | None
    round_to: int
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
        require_scope(self.criterion, self.scope)
        require(self.round_to >= 1, "round_to", "be at least 1 channel", self.round_to)
        require(self.steps >= 1, "steps", "be at least 1", self.steps)
        rule = f"be 0 or at least steps={self.steps}, an epoch a step"
        require(self.epochs == 0 or self.epochs >= self.steps, "epochs", rule, self.epochs)
        rewinds = self.rewind is None or self.rewind >= 0
        require(rewinds, "rewind", "be at least 0 epochs, or null", self.rewind)

    @property
    def label(self) -> str:
        """Such as prune0.30 or prune_macs25pct."""
        return f"prune_{self.target.label}" if self.amount is None else f"prune{self.amount:.2f}"

    @property
    def measures(self) -> bool:
        """Whether the widths depend on the files that a runtime makes."""
        return self.target.metric in ("size_mb", "latency_ms")

    def check_cheaply(self, outline: Build, before: Training | None) -> None:
        """Raise ConfigError if no network of these shapes would do; see `variant`."""
        self._require_rewind(before)
        require_rounding(self.round_to, outline)

    def check(self, build: Build, context: Context, before: Training | None) -> None:
        """Raise ConfigError if the stage cannot work on a network; see `variant.Checks`."""
        from paredown.prune.search import require_reachable

        self._require_rewind(before)
        super().check(build, context, before)
        if self.target.metric:
            require_reachable(self.target, self.pruning(context), build, context)

    def _require_rewind(self, before: Training | None) -> None:
        if self.rewind is not None:
            epochs = before.epochs if before else 0
            rule = f"be at most {epochs}, the epochs of the training before"
            require(self.rewind <= epochs, "prune.rewind", rule, self.rewind)

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

    def pruning(self, context: Context) -> "Pruning":
        """Say how channels are chosen."""
        from paredown.prune.channels import Pruning

        scope = ranked(self.criterion, self.scope)
        frozen = self.epochs > 0
        return Pruning(self.criterion, scope, self.round_to, context.dataset, frozen)

    def _shrink(
        self, module: "nn.Module", amount: float, context: Context
    ) -> tuple[Mapping[str, float], ...]:
        """Prune in place and recover, step by step; give what training logged."""
        from paredown.prune.channels import whole_widths

        pruning = self.pruning(context)
        whole = whole_widths(pruning.find(module))
        early = self._early(context)
        curves: list[Mapping[str, float]] = []
        for step in range(self.steps):
            own = replace(context, seed=context.seed + step)
            part = amount * (step + 1) / self.steps
            cuts = pruning.prune(module, part, pruning.score(module, own.seed), whole)
            if early is not None:
                pruning.again(early, cuts)
                module.load_state_dict(early.state_dict())
            epochs = self.epochs * (step + 1) // self.steps - self.epochs * step // self.steps
            curves += self.recover(module, own, epochs)
        return tuple(curves)

    def _early(self, context: Context) -> "nn.Module | None":
        """Give the network that surviving weights are rewound to, if any."""
        if self.rewind is None or not context.trains:
            return None
        assert context.early is not None
        return context.early(self.rewind)
