"""What a report says, block by block."""

from collections.abc import Mapping, Sequence

from paredown.metric import QUALITY, Metric, metric_of, table_metrics
from paredown.pictures.scatter import FAILED
from paredown.report.about import about, pick_command
from paredown.report.document import Block, Commands, Figures, Fold, Heading, Table, Text
from paredown.report.figures import front_figures, more_figures, named
from paredown.report.layers import layers_fold
from paredown.report.measured import (
    Measured,
    Setting,
    best,
    not_faster,
    setting_of,
    spans,
    stage_metrics,
    variants,
)
from paredown.report.tables import head
from paredown.report.widths import Layers
from paredown.tracking.reader import Logged

AGAINST = "against"
TEXTS = ("stage", AGAINST, "run", "name")


def content(
    runs: Sequence[Logged],
    layers: Mapping[int, Mapping[str, Layers]],
    made_by: str = "",
    sweep: str | None = None,
) -> list[Block]:
    """Write the report of runs: what it is about, the fronts, and the rest folded.

    Args:
        runs: Number 1 first.
        layers: Of each run that has them, by its number: layers by stage.
        made_by: The command that writes this report.
        sweep: What pick.sweep calls the runs; None: they are the whole experiment's.
    """
    by_setting = variants(runs)
    first: Sequence[Measured] = next(iter(by_setting.values()), [])
    blocks: list[Block] = [about(runs, made_by, pick_command(runs, first, best(first), sweep))]
    if apart := different_cpus(runs):
        blocks.append(Text(apart))
    if len(by_setting) > 1:
        kinds = "Figures of different data sets, machines or runtimes are not compared"
        blocks.append(Text(f"{kinds}: each has a section of its own."))
    titles = setting_titles(list(by_setting))
    for at, (setting, several) in enumerate(by_setting.items()):
        blocks += _front(setting, titles[at], several, f"setting{at}")
    return [*blocks, _paths(runs), layers_fold(layers, len(runs)), _commands(runs)]


def different_cpus(runs: Sequence[Logged]) -> str:
    """Warn in one line of runs on different CPUs; empty if all are of one."""
    cpus = sorted({setting_of(run).cpu for run in runs})
    if len(cpus) < 2:
        return ""
    return (
        f"These runs are of {len(cpus)} CPUs: {', '.join(cpus)}. Neither latency nor int8 accuracy "
        "carries over from one to another."
    )


def setting_titles(settings: Sequence[Setting]) -> list[str]:
    """Name settings as briefly as tells them apart: data set, runtime, and more where needed."""
    plain = [f"{one.dataset.partition(' ')[0]}, {one.runtime}" for one in settings]
    images = [f"{one.dataset[: len(one.dataset.partition(' ')[0]) + 9]}, {one.runtime}"
              for one in settings]  # fmt: skip
    machines = [f"{title}, {one.cpu}" for title, one in zip(plain, settings, strict=True)]
    whole = [f"{one.dataset}, {one.runtime}, {one.cpu}" for one in settings]
    return next(
        (titles for titles in (plain, images, machines) if len(set(titles)) == len(settings)), whole
    )


def _front(setting: Setting, title: str, several: Sequence[Measured], prefix: str) -> list[Block]:
    on_front = best(several)
    have = "file is" if len(on_front) == 1 else "files are"
    baselines = {one.against for one in several}
    against = f" Speed-ups are against {next(iter(baselines))}." if len(baselines) == 1 else ""
    good, failed = _divided(several, on_front)
    are = "is" if len(failed) == 1 else "are"
    few = f" {len(failed)} of them {are} less than half as accurate as the best." if failed else ""
    table = _variants(several, good)
    return [
        Heading(f"The front: {title}"),
        Text(
            f"{len(on_front)} {have} on the front of accuracy, size and latency, of "
            f"{len(several)} that the runs made; validation split. A file that several runs made "
            f"counts once, with the median of its figures.{few}{against}"
        ),
        _without(table, AGAINST) if against else table,
        Figures(front_figures(several, prefix)),
        Fold(f"More on {title}", [*_failed(several, failed), *_more(setting, several, prefix)], 3),
    ]


def _divided(several: Sequence[Measured], front: Sequence[int]) -> tuple[list[int], list[int]]:
    """Set apart what is on a front and yet came to nothing."""
    floor = FAILED * max((one.metrics[QUALITY.name] for one in several), default=0.0)
    good = [at for at in front if several[at].metrics[QUALITY.name] >= floor]
    return good, [at for at in front if at not in good]


def _failed(several: Sequence[Measured], failed: Sequence[int]) -> list[Block]:
    if not failed:
        return []
    told = "On the front since they are small or fast, but less than half as accurate as the best:"
    return [Text(told), _variants(several, failed)]


def _variants(several: Sequence[Measured], places: Sequence[int]) -> Table:
    """Lay out variants, a row each."""
    metrics = [metric for metric in table_metrics() if metric.name != "sparsity"]
    rows = [_cells(several[at], at, metrics) for at in places]
    heads = [head(metric, [row[2 + at] for row in rows]) for at, metric in enumerate(metrics)]
    return Table(["variant", "stage", *heads, AGAINST, "run", "name"], rows, TEXTS)


def _without(table: Table, name: str) -> Table:
    """Leave a column out."""
    at = list(table.head).index(name)
    head, *rows = ([*line[:at], *line[at + 1 :]] for line in (table.head, *table.rows))
    return Table(head, rows, table.texts)


def _more(setting: Setting, several: Sequence[Measured], prefix: str) -> list[Block]:
    """Tell what files hold for, and which have fewer MACs than another and are not faster."""
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
    for at, than in sorted(slow.items()):
        one, other = several[at], several[than]
        rows.append([*_who(one, at), *_pace(one), named(other, than), *_pace(other), one.against])
    heads = ["variant", "run", "name", "stage", "MMACs", "speed-up", "not faster than", "its MMACs",
            "its speed-up", AGAINST]  # fmt: skip
    texts = ("run", "name", "stage", "not faster than", AGAINST)
    return [*blocks, Text(f"Fewer MACs, but not faster {how}:"), Table(heads, rows, texts)]


def _who(one: Measured, at: int) -> list[str]:
    more = f" and {len(one.runs) - 1} more" if one.runs[1:] else ""
    return [str(at + 1), spans(one.runs), one.name + more, one.title]


def _pace(one: Measured) -> list[str]:
    return [metric_of(name).cell(one.metrics, alone=True) for name in ("macs", "speedup")]


def _cells(one: Measured, at: int, metrics: Sequence[Metric]) -> list[str]:
    number, runs, name, stage = _who(one, at)
    figures = [metric.cell(one.metrics) for metric in metrics]
    return [number, stage, *figures, one.against, runs, name]


def _paths(runs: Sequence[Logged]) -> Block:
    """Tell every stage of every run."""
    rows = []
    for number, run in enumerate(runs, start=1):
        for stage in run.stages:
            metrics = stage_metrics(run, stage)
            cells = [metric.cell(metrics) for metric in table_metrics()]
            rows.append([str(number), run.name, stage, *cells])
    heads = [
        head(metric, [row[3 + at] for row in rows]) for at, metric in enumerate(table_metrics())
    ]
    heads = [f"{name}, own baseline" if name.startswith("speed-up") else name for name in heads]
    table = Table(["run", "name", "stage", *heads], rows, ("name", "stage"))
    return Fold("The path of each run", [table])


def _commands(runs: Sequence[Logged]) -> Block:
    lines = []
    for number, run in enumerate(runs, start=1):
        command = run.tags.get("command", "(the command was not kept)")
        lines += [f"# run {number}: {run.name}", command]
    return Fold("The commands that make them again", [Commands(lines)])
