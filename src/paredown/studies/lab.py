"""A study: the full path in one table, beside the usual shortcuts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.errors import require
from paredown.pictures.sheet import bars, logarithmic, save, sheet
from paredown.pictures.words import BARS
from paredown.report.tables import markdown
from paredown.run.results import titled
from paredown.studies.contract import Job, OpenPath

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]
PANELS = {
    "accuracy": "accuracy, validation split, with 95 % interval",
    "size_mb": "size of the file, MB, logarithmic",
    "speedup": "times the teacher's speed, logarithmic",
}
EAGER = "teacher, eager PyTorch"
ROWS = {  # prune, quantize and stage of each row
    "teacher, float32": ("structured", "static", "baseline"),
    "student, distilled": ("structured", "static", "distill"),
    "+ pruned": ("structured", "static", "prune"),
    "+ int8": ("structured", "static", "quantize"),
    "masked, not pruned": ("masked", "static", "prune"),
    "masked + int8": ("masked", "static", "quantize"),
    "pruned + int8": ("structured", "dynamic", "quantize"),
}
PATH_ROWS = 4  # the others are shortcuts


@dataclass(frozen=True)
class Lab:
    """Compare four jobs: pruned or masked channels, static or dynamic integers."""

    def check(self, settings: Sequence[Mapping[str, str]], stages: Sequence[str]) -> None:
        """Raise ConfigError unless the sweep has the jobs that are compared, of the full path."""
        pairs = [(job.get("prune"), job.get("quantize")) for job in settings]
        needed = {(prune, quantize) for prune, quantize, _ in ROWS.values()}
        rule, hint = "have each once", "prune=structured,masked quantize=static,dynamic, one seed"
        ok = set(pairs) >= needed and len(set(pairs)) == len(pairs)
        require(ok, "prune and quantize", rule, pairs, hint)
        stack = ["baseline", "distill", "prune", "quantize"]
        require(list(stages) == stack, "technique", "be stack for this study", list(stages))

    def __call__(self, jobs: Sequence[Job], open_path: OpenPath, folder: Path) -> str:
        """Write lab.png, .md and .json; describe masks, dynamic int8 and the runtime."""
        rows = _rows({(job.settings["prune"], job.settings["quantize"]): job for job in jobs})
        table = [
            {**row, "stage": titled(name, row.get("note", "")), "note": ""}
            for name, row in rows.items()
        ]
        (folder / "lab.json").write_text(json.dumps(table, indent=1) + "\n")
        (folder / "lab.md").write_text(markdown(table))
        summary = _summary(rows)
        _draw(table, summary.partition("\n")[0], folder / "lab.png")
        return f"{markdown(table)}\n{summary}\nsee {folder / 'lab.png'}"


def _rows(jobs: Mapping[tuple[str, str], Job]) -> dict[str, Row]:
    """Return the rows by name; speed-ups are relative to the baseline of each job."""
    rows: dict[str, Row] = {
        name: jobs[prune, quantize].row(stage) for name, (prune, quantize, stage) in ROWS.items()
    }
    eager = jobs["structured", "static"].eager
    if eager:
        baseline = rows["teacher, float32"].items()
        plain = {name: value for name, value in baseline if not name.startswith("speedup_")}
        speed = {"latency_ms": eager["latency_ms"], "speedup": 1 / eager["runtime_speedup"]}
        rows[EAGER] = {**plain, **speed}
    return rows


def _summary(rows: Mapping[str, Row]) -> str:
    """Describe the effect of each shortcut."""
    teacher, student, pruned, int8, masked, _, dynamic = (rows[name] for name in ROWS)
    lines = [
        f"The path: {teacher['size_mb'] / int8['size_mb']:.0f} times smaller, "
        f"{int8['speedup']:.1f} times faster, "
        f"{100 * (teacher['accuracy'] - int8['accuracy']):.2f} points of accuracy lost.",
        f"Masking sets {masked['zeros']:.0%} of the weights to zero; the file has "
        f"{masked['size_mb']:.2f} MB of {student['size_mb']:.2f}, the speed-up is "
        f"{masked['speedup']:.1f} of {student['speedup']:.1f}. Pruned: "
        f"{pruned['size_mb']:.2f} MB and {pruned['speedup']:.1f}.",
        f"Dynamic int8 reaches {dynamic['integer_layers']:.0f} of {dynamic['layers']:.0f} layers: "
        f"{dynamic['size_mb']:.2f} MB of {pruned['size_mb']:.2f}, where static int8 reaches "
        f"{int8['integer_layers']:.0f} and {int8['size_mb']:.2f} MB.",
    ]
    if EAGER in rows:
        eager = rows[EAGER]
        lines.append(
            f"The runtime alone takes the teacher from {eager['latency_ms']:.2f} to "
            f"{teacher['latency_ms']:.2f} ms: {1 / eager['speedup']:.1f} times, which is no "
            "compression."
        )
    return "\n".join(lines)


def _draw(rows: Sequence[Row], title: str, file: Path) -> None:
    """Draw three panels of bars, one bar per row."""
    from matplotlib.ticker import PercentFormatter

    figure, panels = sheet(title, 3, 4.2, 0.42 * len(rows) + 1.1)
    for axes, (name, label) in zip(panels, PANELS.items(), strict=True):
        axes.set_xlabel(label)
        _bars(axes, rows, name)
        if name == "accuracy":
            axes.set_yticks(range(0, -len(rows), -1), [row["stage"] for row in rows])
            axes.set_xlim(max(0.0, min(row["accuracy_low"] for row in rows) - 0.05), 1)
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            values = [row[name] for row in rows]
            axes.set_yticks(range(0, -len(rows), -1), [""] * len(rows))
            axes.set_xscale("log")
            axes.set_xlim(0.6 * min(values), 1.5 * max(values))
            logarithmic(axes.xaxis, axes.get_xlim())
    save(figure, file)


def _bars(axes: "Axes", rows: Sequence[Row], name: str) -> None:
    """Draw one metric, with its interval where it has one, and its value on each bar."""
    values = [row[name] for row in rows]
    axes.barh(
        range(0, -len(rows), -1), values, height=0.62, edgecolor="#5a6270", linewidth=0.6,
        color=[BARS[0]] * PATH_ROWS + ["#c9ced6"] * (len(rows) - PATH_ROWS),
        xerr=None if name == "size_mb" else bars(rows, name), ecolor="#30353d", capsize=2,
    )  # fmt: skip
    axes.grid(axis="y", visible=False)
    for index, value in enumerate(values):
        axes.annotate(
            f"{value:.1%}" if name == "accuracy" else f"{value:.2f}", (0.02, -index), va="center",
            xycoords=axes.get_yaxis_transform(), fontsize=8,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"},
        )  # fmt: skip
