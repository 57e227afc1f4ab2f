"""The model card of a bundle: what it is, how it is made again, what it was measured at."""

import numpy as np

from paredown.budget import Budget
from paredown.dataset import Dataset
from paredown.dataset.preprocessing import numbers
from paredown.host import machine
from paredown.metric import MAXIMIZE, metric_of, table_metrics
from paredown.pick.candidates import Candidate
from paredown.pick.exam import Exam
from paredown.printable import in_markdown
from paredown.run import cautions
from paredown.tracking.reader import under
from paredown.tracking.restore import Parts

SHOWN = 20  # classes in the table
TOP = 5


def write_card(candidate: Candidate, exam: Exam, parts: Parts, budget: Budget) -> str:
    """Write card.md.

    Args:
        candidate: What was picked.
        exam: How it did on the test split.
        parts: Of its run.
        budget: What it was picked for.
    """
    run, dataset = candidate.run, parts.dataset
    tags = run.tags
    path = run.stages[: run.stages.index(candidate.stage) + 1]
    channels, height, width = dataset.input_shape
    low, high = exam.interval
    title = one_line(run.title(candidate.stage))
    return f"""# {one_line(run.name)}, {title}

Names images of {width}x{height} pixels and {channels} channels as one of {len(dataset.classes)}
classes: {_classes(dataset.classes)}. Stages: {one_line(" → ".join(path))}. Trained and judged on
{one_line(tags.get("dataset", dataset.name))}.

- **Test accuracy: {exam.accuracy:.2%}** [{low:.1%}, {high:.1%}] (95 % Wilson interval), \
{exam.hits} of {exam.count} images, taken from the files here, one image at a time.
{_top5(exam, dataset)}- Against the float32 baseline of the same run \
({exam.baseline_hits / exam.count:.2%}): {exam.verdict()}.
- Picked for: {say(budget)}.

| measured, validation split | {one_line(run.stages[0])} | {title} |
|---|---|---|
{_rows(candidate)}
{_where(candidate)}

## Each class

{_each_class(exam, dataset)}
`test.json` has the whole table of confusions, `answers.csv` every image of the test split.

## Use it

    pip install -r requirements.txt
    python predict.py IMAGE_OR_FOLDER ... [--json]

`sha256sum -c SHA256SUMS` tells whether the files are as they were written.

## Make it again

    {one_line(tags.get("command", "the command was not kept"), escapes=False)}

at commit {one_line(tags.get("mlflow.source.git.commit", "(unknown)"))}, then take the stage
{one_line(candidate.stage)}. MLflow run {one_line(run.id)}.

## Limits

{_cautions(candidate)}- It answers with one of its classes whatever it is shown; the \
probability is the softmax of the
  logits and was never calibrated.
- The accuracy holds for images like those of the test split. An image of another size is shown
  {dataset.resize}; one with other channels is converted; alpha is dropped. Pixels are normalized
  by {numbers(dataset.mean, dataset.std)} of 0..1.
- The latency is that of the CPU and the runtime above, on one image at a time.
- An int8 file may answer otherwise on a CPU with other instructions than those above: measure
  again there.
- The validation split chose it, so its validation accuracy is a little flattered; the test split
  was looked at once, afterwards.
"""


def one_line(text: str, escapes: bool = True) -> str:
    """Make a text of others harmless in Markdown: one line, no control characters, no markup.

    Args:
        text: Such as a name or a tag of a run.
        escapes: Whether signs of markup are escaped; not within a block of code.
    """
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return in_markdown(line) if escapes else line


def say(budget: Budget) -> str:
    """Tell a budget in words, by the keys that set it."""
    signs = {
        name: "at least" if metric_of(name).direction == MAXIMIZE else "at most"
        for name in budget.limits
    }
    return ", ".join(f"{name} {signs[name]} {limit:g}" for name, limit in budget.limits.items())


def _top5(exam: Exam, dataset: Dataset) -> str:
    if len(dataset.classes) <= TOP:
        return ""
    return f"- Top-5 accuracy: {exam.top5 / exam.count:.2%}.\n"


def _each_class(exam: Exam, dataset: Dataset) -> str:
    """Write a table of the classes, the worst first."""
    confusion = exam.confusion(len(dataset.classes))
    images = confusion.sum(1)
    right = confusion.diagonal() / np.maximum(images, 1)
    wrong = confusion - np.diag(confusion.diagonal())
    order = [index for index in np.argsort(right, kind="stable") if images[index]]
    lines = ["| class | test images | right | most often taken for |", "|---|---|---|---|"]
    for index in order[:SHOWN]:
        taken = int(wrong[index].argmax())
        count = wrong[index, taken]
        other = f"{one_line(dataset.classes[taken])} ({count})" if count else ""
        name = one_line(dataset.classes[index])
        lines.append(f"| {name} | {images[index]} | {right[index]:.1%} | {other} |")
    if len(order) > SHOWN:
        lines.append(f"\nThe {SHOWN} worst of {len(order)} classes.")
    return "\n".join(lines) + "\n"


def _classes(names: tuple[str, ...]) -> str:
    shown = one_line(", ".join(names[:20]))
    return shown if len(names) <= 20 else f"{shown}, … (all in preprocess.json)"


def _rows(candidate: Candidate) -> str:
    metrics = candidate.run.metrics
    stages = (candidate.run.stages[0], candidate.stage)
    lines = []
    for metric in table_metrics():
        cells = [metric.cell(under(stage, metrics)) for stage in stages]
        lines.append(f"| {metric.axis} | {' | '.join(cells)} |\n")
    return "".join(lines)


def _cautions(candidate: Candidate) -> str:
    texts = cautions.read(candidate.run.tags, candidate.stage)
    return "".join(f"- **Caution:** {one_line(text)}.\n" for text in texts)


def _where(candidate: Candidate) -> str:
    tags = {name: one_line(value) for name, value in candidate.run.tags.items()}
    told = (
        f"Measured on {tags.get('cpu', 'an unknown CPU')} in "
        f"{tags.get('runtime', 'an unknown runtime')}; int8 instructions of that CPU: "
        f"{tags.get('int8_instructions', 'unknown')}; made by "
        f"{tags.get('made_by', 'unknown versions')}."
    )
    if candidate.fresh:
        here = one_line(machine.cpu_name())
        told += f"\nWhen it was picked: {candidate.figures['latency_ms']:.3f} ms on {here}."
    return told
