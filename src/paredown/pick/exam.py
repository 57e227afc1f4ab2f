"""The one look at the test split, for what was picked; and whether a loss is more than chance."""

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

SURE = 0.05  # below this a difference is called real


@dataclass(frozen=True, eq=False)
class Exam:
    """What a variant and the baseline of its run answer to the test split.

    Args:
        labels: Right classes, int64, (N,).
        answers, before: Classes that the variant and the baseline name, int64, (N,).
        top5: Images whose class is among the variant's five likeliest.
    """

    labels: Labels
    answers: Labels
    before: Labels
    top5: int

    @property
    def count(self) -> int:
        """Images of the split."""
        return len(self.labels)

    @property
    def hits(self) -> int:
        """Images that the variant names rightly."""
        return int((self.answers == self.labels).sum())

    @property
    def baseline_hits(self) -> int:
        """Images that the baseline names rightly."""
        return int((self.before == self.labels).sum())

    @property
    def lost(self) -> int:
        """Images that only the baseline names rightly."""
        return int(((self.before == self.labels) & (self.answers != self.labels)).sum())

    @property
    def won(self) -> int:
        """Images that only the variant names rightly."""
        return int(((self.before != self.labels) & (self.answers == self.labels)).sum())

    def confusion(self, classes: int) -> Labels:
        """Count images by right class and by the variant's answer, (classes, classes)."""
        pairs = self.labels * classes + self.answers
        return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)

    @property
    def accuracy(self) -> float:
        """Share of the split."""
        return self.hits / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Of the accuracy, 95 %, Wilson."""
        return wilson(self.hits, self.count)

    @property
    def p(self) -> float:
        """How likely so uneven a split of the discordant images is by chance."""
        return mcnemar(self.lost, self.won)

    def verdict(self) -> str:
        """Tell the comparison in words."""
        if self.lost == self.won == 0:
            return "names rightly the same images as the baseline"
        points = (self.hits - self.baseline_hits) / self.count * 100
        way = "lost" if points < 0 else "won"
        real = "a real difference" if self.p < SURE else "may be chance"
        return (
            f"{self.lost} images only the baseline names rightly, {self.won} only this variant: "
            f"{abs(points):.2f} points {way}, p = {self.p:.2g} (exact McNemar): {real}"
        )


def sit(parts: Parts, variant: Path, baseline: Path) -> Exam:
    """Show the test split to a variant and to its baseline.

    Args:
        parts: Their run's.
        variant: Folder with its files that ship.
        baseline: Folder with the baseline's; the same for the baseline itself.
    """
    dataset = parts.dataset
    log.info("one look at the %d test images", len(dataset.test))
    logits = _logits(parts.runtime.load(variant), dataset)
    labels, answers = dataset.test.labels, logits.argmax(1)
    likeliest = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    before = answers
    if baseline != variant:
        before = _logits(parts.runtime.load(baseline), dataset).argmax(1)
    return Exam(labels, answers, before, int((likeliest == labels[:, None]).any(1).sum()))


def _logits(program: Program, dataset: Dataset) -> NDArray[np.float32]:
    """Return a program's logits of the test images, (N, classes): one at a time, as predict.py."""
    images = dataset.test.images
    normalized = (dataset.normalize(images[at : at + 1]) for at in range(len(dataset.test)))
    return np.concatenate([program(image) for image in normalized])
