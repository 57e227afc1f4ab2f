"""Training settings, shared by every stage that fits weights; the loop is in `loop.py`."""

import math
from dataclasses import dataclass, field

from paredown.dataset import Dataset
from paredown.errors import require, require_one_of

SCHEDULES = ("cosine", "one_cycle")
PRECISIONS = ("auto", "bfloat16", "float32")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Training:
    """Train with AdamW over shuffled batches of augmented images.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2017, arXiv 1711.05101;
    one-cycle: Smith and Topin, Super-Convergence, 2017, arXiv 1708.07120.

    Args:
        epochs: Passes over the training split; 0 trains nothing.
        batch_size: Images per step.
        learning_rate: The highest of the schedule.
        weight_decay: Decoupled, of weights with two or more dimensions.
        label_smoothing: Share of a label that is spread over all classes, [0, 1).
        schedule: one_cycle (up for 30 % of the steps, then down) or cosine (down only).
        precision: auto means bfloat16 autocast where the CPU multiplies it natively and the
            network has no grouped convolution; a rule rather than a timing, so that a seed
            always yields the same weights.
        device: auto means a GPU where there is one.
        threads: CPU threads; null leaves torch's default, one per core. The number affects the
            bits, so it is logged, but it is not part of a store key.
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
        require_one_of(SCHEDULES, "schedule", self.schedule)
        require_one_of(PRECISIONS, "precision", self.precision)
        require_one_of(DEVICES, "device", self.device)
        enough = self.threads is None or self.threads >= 1
        require(enough, "threads", "be at least 1, or null for one per core", self.threads)

    def check(self, dataset: Dataset) -> None:
        """Raise ConfigError if a batch is larger than the train split."""
        size = len(dataset.train)
        rule = f"be at most the {size} images of {dataset.name}'s train split"
        require(self.batch_size <= size, "training.batch_size", rule, self.batch_size)
