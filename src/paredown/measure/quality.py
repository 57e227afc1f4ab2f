"""Quality of a file that ships: its accuracy on a split."""

import logging

import numpy as np

from paredown.dataset import Dataset, Split
from paredown.host.logs import Pulse
from paredown.measure.statistics import wilson
from paredown.runtime import Logits, Program

log = logging.getLogger(__name__)

BATCH = 256


def predict(program: Program, dataset: Dataset, split: Split) -> Logits:
    """Run a program over a split; return its logits, (N, classes)."""
    batches, pulse = [], Pulse()
    for first in range(0, len(split), BATCH):
        batches.append(program(dataset.normalize(split.images[first : first + BATCH])))
        if pulse.due():
            log.info("%s: %d of %d images evaluated", dataset.name, first + BATCH, len(split))
    return np.concatenate(batches)


def accuracy(program: Program, dataset: Dataset, split: Split) -> dict[str, float]:
    """Return a program's accuracy on a split, with its 95 % Wilson interval."""
    hits = int((predict(program, dataset, split).argmax(axis=1) == split.labels).sum())
    low, high = wilson(hits, len(split))
    return {"accuracy": hits / len(split), "accuracy_low": low, "accuracy_high": high}
