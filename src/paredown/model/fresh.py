"""Networks and heads that start from random weights and that nothing would train."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from paredown.dataset import Dataset
from paredown.errors import require
from paredown.model import ModelSource
from paredown.printable import few

if TYPE_CHECKING:
    from paredown.run.plan import Plan
    from paredown.variant import Stage


def require_trained(stages: Mapping[str, "Stage"], dataset: Dataset) -> None:
    """Raise ConfigError if a stage starts from random weights and trains for no epoch."""
    for index, (title, stage) in enumerate(stages.items()):
        source, training = stage.source, stage.training
        if source is None or training is None or training.epochs > 0:
            continue
        names = random_weights(source, dataset)
        rule = f"be above 0 where {title} begins with random weights in {few(names, 2)}"
        hint = f"train it, or name weights that answer with these {len(dataset.classes)} classes"
        if index and title != "teacher":
            hint = f"technique=prune_quantize compresses {next(iter(stages))} itself, without it"
        key = "teacher.epochs" if title == "teacher" else "training.epochs"
        require(not names, key, f"{rule} of {source.name}", 0, hint)


def require_trained_early(plan: "Plan") -> None:
    """Refuse random weights in a job of a sweep; images are loaded only where there is a doubt."""
    doubtful = any(
        stage.source is not None
        and stage.source.weights is None
        and stage.training is not None
        and stage.training.epochs == 0
        for stage in plan.networks.values()
    )
    if doubtful:
        require_trained(plan.networks, plan.dataset.load())


def random_weights(source: ModelSource, dataset: Dataset) -> list[str]:
    """List the tensors of a network that its source draws at random."""
    import torch

    from paredown.model.loading import fresh_heads
    from paredown.model.seeds import seeded

    classes, shape = len(dataset.classes), dataset.input_shape
    if source.weights is not None:
        return sorted(fresh_heads(source, classes, shape))
    states = []
    for seed in (1, 2):
        with seeded(seed):
            states.append(source.build(classes, shape).state_dict())
    one, other = states
    return [name for name in one if not torch.equal(one[name], other[name])]
