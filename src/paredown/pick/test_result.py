"""Evaluates the pick on the test split, once, and tests the difference from the baseline."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paredown.dataset import Dataset, Labels
from paredown.measure.statistics import mcnemar, wilson
from paredown.runtime import Program
from paredown.tracking.restore import Parts

log = logging.getLogger(__name__)

ALPHA = 0.05  # a difference with a p value below this is called significant


@dataclass(frozen=True, eq=False)
class TestResult:
    """Predictions of a variant and of its run's baseline on the test split.

    Args:
        labels: True classes, int64, (N,).
        predictions, baseline_predictions: Predicted classes, int64, (N,).
        top5_hits: Images whose class is among the variant's five likeliest.
    """

    __test__ = False  # pytest would collect it by its name

    labels: Labels
    predictions: Labels
    baseline_predictions: Labels
    top5_hits: int

    @property
    def count(self) -> int:
        """Number of test images."""
        return len(self.labels)

    @property
    def hits(self) -> int:
        """Images that the variant classifies correctly."""
        return int((self.predictions == self.labels).sum())

    @property
    def baseline_hits(self) -> int:
        """Images that the baseline classifies correctly."""
        return int((self.baseline_predictions == self.labels).sum())

    @property
    def only_baseline_correct(self) -> int:
        """Images that the baseline alone classifies correctly."""
        correct = self.baseline_predictions == self.labels
        return int((correct & (self.predictions != self.labels)).sum())

    @property
    def only_variant_correct(self) -> int:
        """Images that the variant alone classifies correctly."""
        return self.hits - self.baseline_hits + self.only_baseline_correct

    def confusion(self, classes: int) -> Labels:
        """Count images by true and predicted class, (classes, classes)."""
        pairs = self.labels * classes + self.predictions
        return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)

    @property
    def accuracy(self) -> float:
        """Share of the images classified correctly."""
        return self.hits / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return wilson(self.hits, self.count)

    @property
    def p_value(self) -> float:
        """Exact McNemar p value of the difference from the baseline."""
        return mcnemar(self.only_baseline_correct, self.only_variant_correct)

    def verdict(self) -> str:
        """Describe the difference from the baseline in one sentence."""
        if self.only_baseline_correct == self.only_variant_correct == 0:
            return "correct on the same images as the baseline"
        points = (self.hits - self.baseline_hits) / self.count * 100
        side = "below" if points < 0 else "above"
        significance = "significant" if self.p_value < ALPHA else "not significant"
        return (
            f"{abs(points):.2f} points {side} the baseline ({self.only_baseline_correct} images "
            f"only it gets right, {self.only_variant_correct} only this variant; exact McNemar "
            f"p = {self.p_value:.2g}: {significance})"
        )


def evaluate_on_test(parts: Parts, variant: Path, baseline: Path) -> TestResult:
    """Run a variant and its baseline, of two folders or of one, on the test split."""
    dataset = parts.dataset
    log.info("evaluating on the %d test images, once", len(dataset.test))
    logits = _logits(parts.runtime.load(variant), dataset)
    labels, predictions = dataset.test.labels, logits.argmax(1)
    top5 = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    baseline_predictions = predictions
    if baseline != variant:
        baseline_predictions = _logits(parts.runtime.load(baseline), dataset).argmax(1)
    top5_hits = int((top5 == labels[:, None]).any(1).sum())
    return TestResult(labels, predictions, baseline_predictions, top5_hits)


def _logits(program: Program, dataset: Dataset) -> NDArray[np.float32]:
    """Return a program's logits of the test images, (N, classes): one at a time, as predict.py."""
    images = dataset.test.images
    batches = (dataset.normalize(images[i : i + 1]) for i in range(len(dataset.test)))
    return np.concatenate([program(batch) for batch in batches])
