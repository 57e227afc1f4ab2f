"""The model card of a bundle: what it is, how to reproduce it, and its measurements."""

from collections.abc import Iterator
from pathlib import Path

import jinja2
import numpy as np

from paredown.budget import Budget
from paredown.dataset import Dataset
from paredown.dataset.preprocessing import numbers
from paredown.host import machine
from paredown.metric import MAXIMIZE, metric_of, table_metrics
from paredown.pick.candidates import Candidate
from paredown.pick.test_result import TestResult
from paredown.printable import in_markdown
from paredown.run import cautions
from paredown.tracking.reader import under
from paredown.tracking.restore import Parts

TEMPLATE = Path(__file__).with_name("card.md.template")
SHOWN = 20  # classes in the table


def write_card(candidate: Candidate, test: TestResult, parts: Parts, budget: Budget) -> str:
    """Return the text of card.md."""
    run, dataset = candidate.run, parts.dataset
    channels, height, width = dataset.input_shape
    # Markdown, not HTML: texts of others pass through `md`
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True)  # noqa: S701
    environment.filters |= {"line": one_line, "md": lambda text: in_markdown(one_line(text))}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        candidate=candidate,
        run=run,
        tags=run.tags,
        title=run.title(candidate.stage),
        path=run.stages[: run.stages.index(candidate.stage) + 1],
        dataset=dataset,
        classes=dataset.classes,
        channels=channels,
        height=height,
        width=width,
        normalization=numbers(dataset.mean, dataset.std),
        test=test,
        budget=budget_text(budget),
        metrics=list(_metric_rows(candidate)),
        worst=list(_worst_classes(test, dataset)),
        shown=SHOWN,
        cautions=cautions.read(run.tags, candidate.stage),
        cpu=machine.cpu_name(),
    )


def one_line(text: str) -> str:
    """Return a text of others in one line, with spaces for control characters."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def budget_text(budget: Budget) -> str:
    """Write a budget in words, by the keys that set it."""
    limits = [(metric_of(name), limit) for name, limit in budget.limits.items()]
    return ", ".join(
        f"{metric.name} at {'least' if metric.direction == MAXIMIZE else 'most'} {limit:g}"
        for metric, limit in limits
    )


def _metric_rows(candidate: Candidate) -> Iterator[list[str]]:
    """Yield each metric's axis, and its cell of the baseline and of the candidate."""
    for metric in table_metrics():
        stages = (candidate.run.stages[0], candidate.stage)
        cells = (metric.cell(under(stage, candidate.run.metrics)) for stage in stages)
        yield [metric.axis, *cells]


def _worst_classes(
    test: TestResult, dataset: Dataset
) -> Iterator[tuple[str, int, float, str, int]]:
    """Yield name, images, accuracy, and the most frequent error with its count, worst first."""
    confusion = test.confusion(len(dataset.classes))
    images = confusion.sum(1)
    accuracies = confusion.diagonal() / np.maximum(images, 1)
    errors = confusion - np.diag(confusion.diagonal())
    for index in np.argsort(accuracies, kind="stable"):
        if images[index]:
            other = int(errors[index].argmax())
            names = dataset.classes[index], dataset.classes[other]
            yield names[0], images[index], accuracies[index], names[1], errors[index, other]
