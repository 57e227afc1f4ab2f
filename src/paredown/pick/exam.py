"""The one look at the test split, for what was picked; and whether a loss is more than chance."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paredown.dataset import Dataset, Labels
from paredown.measure import wilson
from paredown.pick.workbench import Parts
from paredown.runtime import Program

log = logging.getLogger(__name__)

SURE = 0.05  # below this a difference is called real


@dataclass(frozen=True)
class Exam:
    """Accuracy on the test split, and a paired comparison with the baseline.

    Args:
        count: Images of the split.
        hits, baseline_hits: Of them named rightly, by the variant and by its run's baseline.
        lost: Images that only the baseline names rightly.
        won: Images that only the variant names rightly.
    """

    count: int
    hits: int
    baseline_hits: int
    lost: int
    won: int

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


def mcnemar(lost: int, won: int) -> float:
    """Give the two-sided p value of the exact McNemar test.

    p = min(1, 2 sum_{k=0}^{min(b, c)} C(b+c, k) / 2^(b+c))

    Source: Q. McNemar, Note on the sampling error of the difference between correlated
    proportions or percentages, Psychometrika 12, 1947.

    Args:
        lost: Discordant pairs of one kind, b.
        won: Of the other, c.
    """
    count, tail, ways = lost + won, 0, 1
    for k in range(min(lost, won) + 1):  # ways: C(count, k), whole numbers of any length
        tail, ways = tail + ways, ways * (count - k) // (k + 1)
    return min(1.0, 2 * tail / (1 << count))


def sit(parts: Parts, variant: Path, baseline: Path) -> Exam:
    """Show the test split to a variant and to its baseline.

    Args:
        parts: Their run's.
        variant: Folder with its files that ship.
        baseline: Folder with the baseline's; the same for the baseline itself.
    """
    dataset = parts.dataset
    log.info("one look at the %d test images", len(dataset.test))
    right = _right(parts.runtime.load(variant), dataset, dataset.test.labels)
    before = right
    if baseline != variant:
        before = _right(parts.runtime.load(baseline), dataset, dataset.test.labels)
    return Exam(
        count=len(right),
        hits=int(right.sum()),
        baseline_hits=int(before.sum()),
        lost=int((before & ~right).sum()),
        won=int((right & ~before).sum()),
    )


def _right(program: Program, dataset: Dataset, labels: Labels) -> NDArray[np.bool_]:
    """Tell which test images a program names rightly: one at a time, as predict.py shows them."""
    images = dataset.test.images
    answers = [
        int(program(dataset.normalize(images[at : at + 1])).argmax()) for at in range(len(labels))
    ]
    return np.equal(answers, labels)
