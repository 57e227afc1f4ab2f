"""The command `report.py`: reads MLflow, writes two files."""

import json
import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from paredown.config import build_all, typed
from paredown.errors import ConfigError, first_line, require, require_one_of
from paredown.printable import hide_passwords
from paredown.report.tables import show
from paredown.report.widths import Layers, read_layers
from paredown.tracking.artifacts import find_sweep
from paredown.tracking.reader import Logged
from paredown.tracking.tracker import Named, Tracker

log = logging.getLogger(__name__)

HTML, MARKDOWN = "report.html", "report.md"
MAX_RUNS = 40  # whose layers are read: one request and one column per run


@dataclass(frozen=True)
class Report:
    """The runs to report, and where to.

    Args:
        sweep: Its folder, or its run's id or name; None for all runs of the experiment.
        folder: To write to.
    """

    sweep: str | int | None
    folder: str

    def __post_init__(self) -> None:
        require(bool(self.folder.strip()), "folder", "be a path", self.folder)


def run(cfg: DictConfig) -> None:
    """Write the report of a configuration.

    Raises:
        ConfigError: If there is nothing to report; then nothing is written.
    """
    from paredown.pictures import page
    from paredown.report.content import content, different_cpus
    from paredown.report.document import to_markdown

    for key in cfg:
        require_one_of(("report", "tracking"), "a key of the configuration", key)
    parts = build_all(cfg, "report", "tracking")
    report: Report = parts["report"]
    tracker: Tracker = parts["tracking"].visit()
    with parts["tracking"].answering():
        sweep = None if report.sweep is None else find_sweep(tracker, report.sweep, "report.sweep")
        runs = tracker.finished(sweep.id if sweep else None)[::-1]  # the oldest is number 1
    if not runs:
        key = "tracking.experiment" if sweep is None else "report.sweep"
        name = parts["tracking"].experiment if sweep is None else report.sweep
        raise ConfigError(f"{key} must hold a finished run, got {name!r}, which holds none yet")
    name = None if sweep is None else _folder_or_id(sweep)
    blocks = content(runs, _layers(tracker, runs), _command(name), name)
    title = _title(len(runs), parts["tracking"].experiment, sweep)
    folder = Path(report.folder)
    folder.mkdir(parents=True, exist_ok=True)
    page.write(folder / HTML, page.to_html(title, blocks))
    page.write(folder / MARKDOWN, to_markdown(title, blocks))
    if warning := different_cpus(runs):
        log.warning(warning)
    show(f"{title}:", f"page:     {folder / HTML}", f"markdown: {folder / MARKDOWN}")


def _title(count: int, experiment: str, sweep: Named | None) -> str:
    runs = f"{count} run{'' if count == 1 else 's'}"
    return f"{runs} of " + (f"experiment {experiment}" if sweep is None else f"sweep {sweep.name}")


def _folder_or_id(sweep: Named) -> str:
    """Return a value of pick.sweep: the folder if it is below this one, else the run's id."""
    folder, here = Path(sweep.value), Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else sweep.id


def _command(sweep: str | None) -> str:
    """Return the command that writes this report."""
    from hydra.core.hydra_config import HydraConfig

    typed_here = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    own = [text for text in typed_here if not text.lstrip("+").startswith("report.")]
    own += [] if sweep is None else [f"report.sweep={sweep}"]
    return shlex.join([*typed("report").split(), *map(hide_passwords, own)])


def _layers(tracker: Tracker, runs: Sequence[Logged]) -> dict[int, Mapping[str, Layers]]:
    """Read the layers of the newest runs, by the run's number; warn of files that hold none."""
    from paredown.run.path import LAYERS

    by_run: dict[int, Mapping[str, Layers]] = {}
    for number in range(len(runs), max(0, len(runs) - MAX_RUNS), -1):
        run = runs[number - 1]
        try:
            text = tracker.text(run.id, LAYERS)
            if text is not None:
                by_run[number] = read_layers(json.loads(text))
        except ValueError as error:
            message = "the widths of run %d (%s) are left out: its %s cannot be read (%s)"
            log.warning(message, number, run.name, LAYERS, first_line(error))
    return dict(sorted(by_run.items()))
