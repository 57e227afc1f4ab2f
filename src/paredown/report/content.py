"""What a report says, block by block."""

from collections.abc import Mapping, Sequence

from paredown.pictures.words import form
from paredown.report.document import Block, Commands, Figures, Heading, Table, Text
from paredown.report.figures import front_figures, shares_figure, told, widths_figure
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
from paredown.report.tables import PATH, path_cells
from paredown.report.widths import Layers, widths
from paredown.tracking.tracker import Logged

NEEDED = ("accuracy", "accuracy_low", "accuracy_high", "size_mb", "latency_ms", "latency_ms_p95",
          "speedup", "params", "macs", "sparsity")  # fmt: skip
COLUMNS = {
    "accuracy": "accuracy",
    "size_mb": "MB",
    "latency_ms": "ms",
    "speedup": "speed-up",
    "params": "params",
    "mmacs": "MMACs",
    "sparsity": "sparsity",
}


def content(runs: Sequence[Logged], layers: Mapping[int, Mapping[str, Layers]]) -> list[Block]:
    """Write the report of runs.

    Args:
        runs: Number 1 first.
        layers: Of each run that has them, by its number: layers by stage.
    """
    blocks: list[Block] = []
    by_setting = variants(runs)
    for at, (setting, several) in enumerate(by_setting.items()):
        blocks += _front(setting, several, f"setting{at}")
    if len(by_setting) > 1:
        apart = "Figures of different data sets, machines or runtimes are not compared"
        blocks.insert(0, Text(f"{apart}: each has a section of its own."))
    if apart := different_cpus(runs):
        blocks.insert(0, Text(apart))
    return [*blocks, *_paths(runs), *_widths(layers, len(runs)), *_commands(runs)]


def different_cpus(runs: Sequence[Logged]) -> str:
    """Warn in one line of runs on different CPUs; empty if all are of one."""
    cpus = sorted({setting_of(run).cpu for run in runs})
    if len(cpus) < 2:
        return ""
    return (
        f"These runs are of {len(cpus)} CPUs: {', '.join(cpus)}. Neither latency nor int8 accuracy "
        "carries over from one to another."
    )


def _front(setting: Setting, several: Sequence[Measured], prefix: str) -> list[Block]:
    on_front = best(several)
    have = "file is" if len(on_front) == 1 else "files are"
    return [
        Heading(f"The front: {setting.dataset.partition(' ')[0]}, {setting.runtime}"),
        Text(f"Measured on {setting.cpu}, on the validation split of {setting.dataset}."),
        Text(
            f"{len(on_front)} {have} on the front of accuracy, size and latency, of "
            f"{len(several)} that the runs made. A file that several runs made counts once, with "
            "the median of its figures. Between runs a shared machine's latency drifts by tens "
            "of percent; the speed-up, taken within a run against its baseline, drifts less."
        ),
        Figures(front_figures(several, prefix)),
        Table(
            ["variant", "runs", "stage", *COLUMNS.values()],
            [[*_who(several[at], at), *_cells(several[at])] for at in on_front],
            ("runs", "stage"),
        ),
        *_slow(several),
    ]


def _slow(several: Sequence[Measured]) -> list[Block]:
    """Tell which variants have fewer MACs than another and are not faster."""
    slow = not_faster(several)
    heading = Heading("Fewer MACs, but not faster", 3)
    how = "by latency and, beyond the 95 % intervals, by speed-up against the same baseline"
    if not slow:
        return [heading, Text(f"None, {how}.")]
    rows = []
    for at, than in sorted(slow.items()):
        one, other = several[at], several[than]
        rows.append([*_who(one, at), *_pace(one), told(other, than), *_pace(other)])
    head = ["variant", "runs", "stage", "MMACs", "speed-up", "not faster than", "its MMACs",
            "its speed-up"]  # fmt: skip
    texts = ("runs", "stage", "not faster than")
    return [heading, Text(f"Not faster {how}:"), Table(head, rows, texts)]


def _who(one: Measured, at: int) -> list[str]:
    return [str(at + 1), spans(one.runs), one.title]


def _pace(one: Measured) -> list[str]:
    return [form("mmacs", one.metrics["macs"] / 1e6), form("speedup", one.metrics["speedup"])]


def _cells(one: Measured) -> list[str]:
    metrics = {**one.metrics, "mmacs": one.metrics.get("macs", float("nan")) / 1e6}
    return [form(name, metrics.get(name, "")) for name in COLUMNS]


def _paths(runs: Sequence[Logged]) -> list[Block]:
    """Tell every stage of every run."""
    rows = []
    for number, run in enumerate(runs, start=1):
        for place, stage in enumerate(run.stages):
            metrics = stage_metrics(run, stage)
            whole = all(name in metrics for name in NEEDED)
            cells = path_cells({"stage": stage, **metrics}) if whole else [stage, *[""] * 7]
            rows.append([*([str(number), run.name] if place == 0 else ["", ""]), *cells])
    return [
        Heading("The path of each run"),
        Table(["run", "name", *PATH], rows, ("name", "stage")),
    ]


def _widths(layers: Mapping[int, Mapping[str, Layers]], count: int) -> list[Block]:
    blocks: list[Block] = [Heading("The widths of the layers")]
    if len(layers) < count:
        shown = f"Those of {len(layers)} of the {count} runs are shown"
        blocks.append(Text(f"{shown}; the others are older than this record, or too many."))
    tables = widths(list(layers.items()))
    if layers and not tables:
        blocks.append(Text("No stage changed the width of a layer."))
    for at, table in enumerate(tables):
        caption = f"output channels of each layer, before (in stage {table.before}) and after"
        rows = [
            [
                name,
                *(
                    f"{of[place]} ({table.shares[who][place]:.1%})"
                    for who, of in table.columns.items()
                ),
            ]
            for place, name in enumerate(table.layers)
        ]
        rows.append(["MMACs", *(form("mmacs", macs / 1e6) for macs in table.macs.values())])
        figures = {
            f"widths{at}": (caption, widths_figure(table)),
            f"shares{at}": ("what each layer does of the network's MACs", shares_figure(table)),
        }
        blocks.append(Text("Each layer's channels, and in brackets its share of the MACs."))
        blocks += [Figures(figures), Table(["layer", *table.columns], rows, ("layer",))]
    return blocks


def _commands(runs: Sequence[Logged]) -> list[Block]:
    lines = []
    for number, run in enumerate(runs, start=1):
        command = run.tags.get("command", "(the command was not kept)")
        lines += [f"# run {number}: {run.name}", command]
    return [Heading("The commands that make them again"), Commands(lines)]
