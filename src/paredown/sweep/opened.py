"""A sweep whose parent run is open: its table, pictures and comparison once its jobs are done."""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from paredown.cli.composition import is_search
from paredown.errors import BudgetError, ConfigError
from paredown.measure.latency import DEFERRED
from paredown.pictures import front_page, front_picture
from paredown.report import jobs_table, show
from paredown.report.grid import draw_grid
from paredown.report.search import about_search
from paredown.run.plan import Plan
from paredown.run.results import FRONT, read_json, read_results, write_json
from paredown.studies.contract import STUDY, log_files, read_jobs
from paredown.sweep.latency import time_sweep
from paredown.tracking.contact import connection_errors
from paredown.tracking.run import Run, upload
from paredown.tracking.tracker import Tracker

log = logging.getLogger(__name__)

GRID = "sweep.png"  # the picture of a grid's jobs, in the sweep's folder and on its run


@dataclass
class OpenSweep:
    """A sweep whose parent run is open, with the plan of its first job."""

    config: DictConfig
    plan: Plan
    tracker: Tracker
    parent: Run
    is_open: bool = True

    @property
    def folder(self) -> Path:
        """The sweep's own, absolute."""
        return Path(self.config.hydra.sweep.dir).absolute()

    def finish(self) -> None:
        """Show all jobs in one table; a failed one makes the exit code 1."""
        self._send_unsent()
        if OmegaConf.select(self.config, "measure.latency") == DEFERRED:
            time_sweep(self.tracker, self.parent.id, self.folder)
        jobs, front, searches = self._jobs(), self._log_front(), is_search(self.config.hydra)
        # A search goes on over failed jobs, and ends by itself where they are too many.
        failed = not (front and searches) and any(job["status"] == "FAILED" for job in jobs)
        wheres = dict.fromkeys(job["where"] for job in jobs if job.get("where"))
        show(jobs_table(str(self.config.hydra.sweep.dir), jobs), *wheres)
        if not searches:
            self._draw(jobs)
        self._compare(jobs)
        show(*self.tracker.compare())
        self._end("FAILED" if failed else "FINISHED")
        self._send_unsent()
        if failed:
            raise SystemExit(1)
        if front.get("missed"):
            raise BudgetError(front["missed"])

    def interrupt(self) -> None:
        """Show the finished jobs if the process ends before the sweep does."""
        if not self.is_open:
            return
        folder = str(self.config.hydra.sweep.dir)
        failed = self._log_front().get("error")
        how = "given up" if failed else "interrupted"
        if any(path.is_dir() for path in self.folder.iterdir()):  # else it was refused
            show(jobs_table(f"{folder}, {how}", read_results(self.folder)))
            show(f"the same command with hydra.sweep.dir={folder} does the rest")
        self._end("FAILED" if failed else "KILLED")

    def _end(self, status: str) -> None:
        self.is_open = False
        self.parent.end(status)

    def _draw(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Log a picture of a grid's jobs by their swept values."""
        file = self.folder / GRID
        if draw_grid(jobs, self.config.hydra.runtime.choices, file):
            self.parent.log_file(file)
            show(f"look:    {file}")

    def _compare(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Let the experiment compare its jobs, and log the files of that."""
        if self.plan.comparison is None:
            return
        unfinished = [job["number"] for job in jobs if job["status"] != "FINISHED"]
        if unfinished or not jobs:
            log.warning("nothing is compared: jobs %s are not finished", unfinished)
            return
        place = self.folder / STUDY
        place.mkdir(exist_ok=True)
        summary = self.plan.comparison(read_jobs(jobs), self.plan.open_path, place)
        log_files(place, self.parent)
        self.parent.log(tags={"mlflow.note.content": summary})
        show(summary)

    def _jobs(self) -> list[dict[str, Any]]:
        """Read the results of all jobs; those of other machines are in MLflow only."""
        jobs: dict[int, dict[str, Any]] = {}
        with contextlib.suppress(*connection_errors()):  # then those of this machine have to do
            newest_first = self.tracker.jobs(self.parent.id)
            jobs = {job["number"]: job for job in reversed(newest_first)}
        jobs |= {job["number"]: job for job in read_results(self.folder)}
        return [jobs[number] for number in sorted(jobs)]

    def _log_front(self) -> dict[str, Any]:
        """Draw and log the front of a search; return its summary, empty if there is none."""
        file = self.folder / FRONT
        front = read_json(file)
        if not front:
            return {}
        front["about"] = about_search(self.config, self.plan, front, file.parent)
        write_json(file, front)
        picture, page = file.with_suffix(".png"), file.with_suffix(".html")
        front_picture(front, picture)
        front_page(front, page)
        for artifact in (file, picture, page):
            self.parent.log_file(artifact)
        show(f"look:    {page}")
        volumes = [{"hypervolume": volume} for volume in front["hypervolume"] or []]
        self.parent.log_curves("search", volumes)
        counts = {"front/points": len(front["front"]), "front/trials": len(front["trials"])}
        self.parent.log(metrics=counts, tags={"front": ",".join(map(str, front["front"]))})
        return front

    def _send_unsent(self) -> None:
        """Send the events that a tracking server could not take while it was away."""
        try:
            count = upload(self.folder, self.tracker.uri)
        except ConfigError as error:
            log.warning("%s", error)
            return
        if count:
            log.info("sent %d runs that the tracking server could not take before", count)
