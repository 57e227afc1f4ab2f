"""How weights are fitted, for every stage that fits weights. The loop is in `loop.py`."""

import math
from dataclasses import dataclass, field

from paredown.dataset import Dataset
from paredown.errors import require, require_one_of

SCHEDULES = ("cosine", "one_cycle")
PRECISIONS = ("auto", "bfloat16", "float32")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Training:
    """How weights are fitted: AdamW over shuffled batches of augmented images.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2017, arXiv 1711.05101;
    one-cycle: Smith and Topin, Super-Convergence, 2017, arXiv 1708.07120.

    Args:
        epochs: Passes over the training split; 0 trains nothing.
        batch_size: Images a step.
        learning_rate: The highest of the schedule.
        weight_decay: Decoupled, of weights with two or more dimensions.
        label_smoothing: Share of the label's weight that is spread over all classes, [0, 1).
        schedule: one_cycle (up for 30 % of the steps, then down) or cosine (down only).
        precision: auto takes bfloat16 autocast where the CPU multiplies it natively and the
            network has no grouped convolution, by that rule and never by timing, so that a seed
            always gives the same weights.
        device: auto takes a GPU when there is one.
        threads: CPU threads; null leaves torch's default, one a core. Another number gives
            other bits, so it is logged, but a stored result is served whatever made it.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    schedule: str
    precision: str
    device: str = field(metadata={"key": False})
    threads: int | None = field(metadata={"key": False})

    def __post_init__(self) -> None:
        require(self.epochs >= 0, "epochs", "be at least 0", self.epochs)
        require(self.batch_size >= 2, "batch_size", "be at least 2", self.batch_size)
        positive = 0 < self.learning_rate < math.inf
        require(positive, "learning_rate", "be above 0", self.learning_rate, "0.003 is usual")
        require(0 <= self.weight_decay < math.inf, "weight_decay", "be >= 0", self.weight_decay)
        smooth = 0 <= self.label_smoothing < 1
        require(smooth, "label_smoothing", "lie in [0, 1)", self.label_smoothing)
        for key, choices in (
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
            ("device", DEVICES),
        ):
            require_one_of(choices, key, getattr(self, key))
        enough = self.threads is None or self.threads >= 1
        require(enough, "threads", "be at least 1, or null for one a core", self.threads)

    def check(self, dataset: Dataset) -> None:
        """Raise ConfigError for what only the data can tell."""
        size = len(dataset.train)
        rule = f"be at most the {size} images of {dataset.name}'s train split"
        require(self.batch_size <= size, "training.batch_size", rule, self.batch_size)
