"""The blocks of a report."""

from collections.abc import Mapping, Sequence

from paredown.metric import QUALITY, Metric, brief_metrics, metric_of, table_metrics
from paredown.pictures.page import Block, Commands, Figures, Fold, Heading, Table, Text
from paredown.pictures.scatter import FAILED
from paredown.report.about import about, pick_command
from paredown.report.figures import front_figures, more_figures, variant_title
from paredown.report.layers import layers_fold
from paredown.report.measured import (
    OBJECTIVES,
    Measured,
    Setting,
    best,
    not_faster,
    setting_of,
    spans,
    variants,
)
from paredown.report.tables import head
from paredown.report.widths import Layers
from paredown.tracking.reader import Logged, under

AGAINST = "against"


def content(
    runs: Sequence[Logged],
    layers: Mapping[int, Mapping[str, Layers]],
    command: str = "",
    sweep: str | None = None,
) -> list[Block]:
    """Return the report of runs: its facts, the fronts, and the rest folded.

    Args:
        runs: Number 1 first.
        layers: By stage, by the number of each run that has them.
        command: Writes this report.
        sweep: Value of pick.sweep; None: the whole experiment.
    """
    by_setting = variants(runs)
    first: Sequence[Measured] = next(iter(by_setting.values()), [])
    blocks: list[Block] = [about(runs, command, pick_command(runs, first, best(first), sweep))]
    if warning := different_cpus(runs):
        blocks.append(Text(warning))
    if len(by_setting) > 1:
        kinds = "Figures of different data sets, machines or runtimes are not compared"
        blocks.append(Text(f"{kinds}: each has a section of its own."))
    titles = setting_titles(list(by_setting))
    for index, (setting, measured) in enumerate(by_setting.items()):
        blocks += _front(setting, titles[index], measured, f"setting{index}")
    return [*blocks, _paths(runs), layers_fold(layers, len(runs)), _commands(runs)]


def different_cpus(runs: Sequence[Logged]) -> str:
    """Return a warning of runs on different CPUs; empty if there is one."""
    cpus = sorted({setting_of(run).cpu for run in runs})
    if len(cpus) < 2:
        return ""
    return (
        f"These runs are of {len(cpus)} CPUs: {', '.join(cpus)}. Neither latency nor int8 accuracy "
        "carries over from one to another."
    )


def setting_titles(settings: Sequence[Setting]) -> list[str]:
    """Return distinct titles, as brief as possible: data set, runtime, and more where needed."""
    plain = [f"{one.dataset.partition(' ')[0]}, {one.runtime}" for one in settings]
    images = [f"{one.dataset[: len(one.dataset.partition(' ')[0]) + 9]}, {one.runtime}"
              for one in settings]  # fmt: skip
    machines = [f"{title}, {one.cpu}" for title, one in zip(plain, settings, strict=True)]
    full = [f"{one.dataset}, {one.runtime}, {one.cpu}" for one in settings]
    return next(
        (titles for titles in (plain, images, machines) if len(set(titles)) == len(settings)), full
    )


def _front(setting: Setting, title: str, several: Sequence[Measured], prefix: str) -> list[Block]:
    on_front = best(several)
    have = "file is" if len(on_front) == 1 else "files are"
    labels = [metric_of(name).label for name in OBJECTIVES]
    objectives = f"{', '.join(labels[:-1])} and {labels[-1]}"
    baselines = {one.against for one in several}
    against = f" Speed-ups are against {next(iter(baselines))}." if len(baselines) == 1 else ""
    floor = FAILED * max((one.metrics[QUALITY.name] for one in several), default=0.0)
    good = [index for index in on_front if several[index].metrics[QUALITY.name] >= floor]
    failed = [index for index in on_front if index not in good]
    are = "is" if len(failed) == 1 else "are"
    few = f" {len(failed)} of them {are} less than half as accurate as the best." if failed else ""
    more = _more(setting, several, prefix)
    if failed:
        text = (
            "On the front since they are small or fast, but less than half as accurate as the best:"
        )
        more = [Text(text), _variants(several, failed), *more]
    return [
        Heading(f"The front: {title}"),
        Text(
            f"{len(on_front)} {have} on the front of {objectives}, of "
            f"{len(several)} that the runs wrote; validation split. A file that several runs wrote "
            f"counts once, with the median of its figures.{few}{against}"
        ),
        _variants(several, good, [] if against else [AGAINST]),
        Figures(front_figures(several, prefix)),
        Fold(f"More on {title}", more, 3),
    ]


def _variants(
    several: Sequence[Measured], indices: Sequence[int], against: Sequence[str] = (AGAINST,)
) -> Table:
    """Lay out variants, one per row, with the name of their baseline or without."""
    metrics = brief_metrics()
    rows = []
    for index in indices:
        number, runs, name, stage = _names(several[index], index)
        figures = [metric.cell(several[index].metrics) for metric in metrics]
        rows.append(
            [number, stage, *figures, *(several[index].against for _ in against), runs, name]
        )
    heads = ["variant", "stage", *_heads(metrics, rows, 2), *against, "run", "name"]
    return Table(heads, rows, ("stage", *against, "run", "name"))


def _more(setting: Setting, several: Sequence[Measured], prefix: str) -> list[Block]:
    """Return what the figures hold for, and the files with fewer MACs that are not faster."""
    blocks: list[Block] = [
        Text(
            f"Measured on {setting.cpu}, on {setting.dataset}. Between runs a shared machine's "
            "latency drifts by tens of percent; the speed-up, taken within a run against its "
            "baseline, drifts less."
        ),
        Figures(more_figures(several, prefix)),
    ]
    slow = not_faster(several)
    how = "by latency and, beyond the 95 % intervals, by speed-up against the same baseline"
    if not slow:
        return [*blocks, Text(f"None has fewer MACs than another and is not faster, {how}.")]
    rows = []
    for index, other_index in sorted(slow.items()):
        one, other = several[index], several[other_index]
        title = variant_title(other, other_index)
        rows.append([*_names(one, index), *_pace(one), title, *_pace(other), one.against])
    heads = ["variant", "run", "name", "stage", "MMACs", "speed-up", "not faster than", "its MMACs",
            "its speed-up", AGAINST]  # fmt: skip
    texts = ("run", "name", "stage", "not faster than", AGAINST)
    return [*blocks, Text(f"Fewer MACs, but not faster {how}:"), Table(heads, rows, texts)]


def _names(one: Measured, index: int) -> list[str]:
    more = f" and {len(one.runs) - 1} more" if one.runs[1:] else ""
    return [str(index + 1), spans(one.runs), one.name + more, one.title]


def _pace(one: Measured) -> list[str]:
    return [metric_of(name).cell(one.metrics, alone=True) for name in ("macs", "speedup")]


def _paths(runs: Sequence[Logged]) -> Block:
    """Lay out every stage of every run."""
    metrics = table_metrics()
    rows = []
    for number, run in enumerate(runs, start=1):
        for stage in run.stages:
            figures = under(stage, run.metrics)
            cells = [metric.cell(figures) for metric in metrics]
            rows.append([str(number), run.name, stage, *cells])
    heads = [
        f"{title}, own baseline" if metric.relative else title
        for metric, title in zip(metrics, _heads(metrics, rows, 3), strict=True)
    ]
    table = Table(["run", "name", "stage", *heads], rows, ("name", "stage"))
    return Fold("The path of each run", [table])


def _heads(metrics: Sequence[Metric], rows: Sequence[Sequence[str]], first: int) -> list[str]:
    """Return the heads of the metrics' columns, which begin at column `first`."""
    return [
        head(metric, [row[first + index] for row in rows]) for index, metric in enumerate(metrics)
    ]


def _commands(runs: Sequence[Logged]) -> Block:
    lines = []
    for number, run in enumerate(runs, start=1):
        command = run.tags.get("command", "(the command was not logged)")
        lines += [f"# run {number}: {run.name}", command]
    return Fold("The commands that reproduce them", [Commands(lines)])
