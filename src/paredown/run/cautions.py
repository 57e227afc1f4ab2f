"""Warnings that a reader of the figures needs: chance level, weights, splits, cost."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from paredown.dataset import Dataset, DatasetSource
from paredown.dataset.preprocessing import numbers
from paredown.model.stated import preprocessing
from paredown.model.weights import is_file
from paredown.printable import one_line
from paredown.variant import Stage

if TYPE_CHECKING:
    from paredown.model import ModelSource

log = logging.getLogger(__name__)

Row = Mapping[str, Any]
NEAR = 0.25  # of the way from chance to no error; suitable weights are seldom below
IMAGENET_CLASSES = 1000
TAG = "caution"
MORE = 1.01  # times the size: the text of a file may take some bytes
SHOWN = 4  # classes that are named


class Caution(NamedTuple):
    """A warning in one line.

    Args:
        stage: Of the figures in question; empty for the whole run.
        text: Without the stage.
    """

    stage: str
    text: str

    def __str__(self) -> str:
        """Return the line, the stage first."""
        return f"{self.stage} {self.text}" if self.stage else self.text


def chance(dataset: Dataset) -> float:
    """Return the accuracy of always answering the largest class of the validation split."""
    return float(np.bincount(dataset.val.labels).max() / len(dataset.val))


def warn(cautions: list[Caution]) -> list[Caution]:
    """Log cautions early, long before the table; return them."""
    for caution in cautions:
        log.warning("caution: %s", caution)
    return cautions


def of_split(sources: Iterable["ModelSource"], dataset: Dataset) -> list[Caution]:
    """Warn of weights from elsewhere that may have been trained on the evaluation images.

    A user's file may; published ones are ImageNet's, and saw all of its training images.
    """
    imagenet = len(dataset.classes) == IMAGENET_CLASSES
    others = [
        source for source in sources if source.weights and (imagenet or is_file(source.weights))
    ]
    if not others or not dataset.drawn:
        return []
    drawn = " and ".join(dataset.drawn)
    names = " and ".join(dict.fromkeys(f"{source.name} ({source.weights})" for source in others))
    text = (
        f"{drawn} {'were' if len(dataset.drawn) > 1 else 'was'} drawn here, and the weights of "
        f"{names} come from elsewhere: if these images trained them, the accuracies are too good; "
        "folders train, val and test are taken as they are"
    )
    return [Caution("", text)]


def of_normalization(
    stages: Iterable[Stage], node: DatasetSource, dataset: Dataset
) -> list[Caution]:
    """Warn of a user's weights that are evaluated as they are, without a stated normalization.

    A wrong normalization may cost a few points, and be nowhere near chance. `node` is completed by
    published weights.
    """
    if getattr(node, "mean", dataset.mean) is not None:
        return []
    names = [
        f"{stage.source.name} ({stage.source.weights})"
        for stage in stages
        if stage.source is not None
        and stage.training is not None
        and stage.training.epochs == 0
        and stage.source.weights
        and is_file(stage.source.weights)
    ]
    if not names:
        return []
    text = (
        f"nobody said how images were normalized when {' and '.join(dict.fromkeys(names))} was "
        f"trained: taken are {numbers(dataset.mean, dataset.std)}; dataset.mean and dataset.std "
        "say it, and another normalization costs accuracy"
    )
    return [Caution("", text)]


def of_quality(row: Row, stage: Stage, dataset: Dataset) -> list[Caution]:
    """Warn of a stage near chance level, with likely causes for weights used as they are."""
    floor = chance(dataset)
    skill = (row["accuracy"] - floor) / (1 - floor) if floor < 1 else 1.0
    source, training = stage.source, stage.training
    untouched = source is not None and training is not None and training.epochs == 0
    if row["accuracy_low"] > floor and not (untouched and skill < NEAR):
        return []
    text = (
        f"is near chance: {row['accuracy']:.1%} right, and {floor:.1%} by naming the largest class "
        "every time"
    )
    if source is not None and untouched:
        text += f"; likely causes: {_causes(source, dataset)}"
    return [Caution(row["stage"], text)]


def _causes(source: "ModelSource", dataset: Dataset) -> str:
    """List likely reasons why good weights fail on these images."""
    names = one_line(", ".join(dataset.classes[:SHOWN])) + ", …" * (len(dataset.classes) > SHOWN)
    own = preprocessing(source)
    other = own is not None and (own.mean, own.std) != (dataset.mean, dataset.std)
    library = f", while {own.origin}: {numbers(own.mean, own.std)}" if own and other else ""
    size = "x".join(map(str, dataset.input_shape))
    return (
        f"another normalization in their training (here {numbers(dataset.mean, dataset.std)}"
        f"{library}; dataset.mean and dataset.std set it), another order of the classes (here "
        f"{names}), other preprocessing (here {size}, {dataset.resize})"
    )


def of_cost(rows: Sequence[Row]) -> list[Caution]:
    """Warn of stages whose file is larger and slower than the one before; without latency, MACs."""
    cautions = []
    for before, row in pairwise(rows):
        metric, unit = ("latency_ms", "ms") if "latency_ms" in row else ("macs", "MACs")
        if row["size_mb"] > MORE * before["size_mb"] and row[metric] > before[metric]:
            text = (
                f"is larger and slower than {before['stage']}, which it began with: "
                f"{row['size_mb']:.3f} MB after {before['size_mb']:.3f}, "
                f"{row[metric]:,.4g} {unit} after {before[metric]:,.4g}"
            )
            cautions.append(Caution(row["stage"], text))
    return cautions


def tags(cautions: Iterable[Caution]) -> dict[str, str]:
    """Return cautions as tags of a run; `read` finds them again."""
    texts: dict[str, str] = {}
    for caution in cautions:
        name = f"{caution.stage}/{TAG}" if caution.stage else TAG
        texts[name] = "\n".join(filter(None, (texts.get(name), caution.text)))
    return texts


def read(run_tags: Mapping[str, str], stage: str) -> list[str]:
    """List the cautions of a stage and of the whole run from the run's tags."""
    own = [f"{stage} {text}" for text in run_tags.get(f"{stage}/{TAG}", "").splitlines()]
    return [*run_tags.get(TAG, "").splitlines(), *own]
