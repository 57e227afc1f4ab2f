"""What can be picked: every stage of every finished run, each file once."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import inf

from paredown.metric import METRICS, QUALITY
from paredown.printable import one_line
from paredown.tracking.reader import Logged

FIGURES = (
    *(metric.name for metric in METRICS if metric.limited),
    f"{QUALITY.name}_low",
    f"{QUALITY.name}_high",
)
"""What a stage must have been measured for to be picked."""


@dataclass(frozen=True)
class Candidate:
    """A variant as a run measured it.

    Args:
        run: Of the job that made it.
        stage: Its name in that run.
        figures: Of FIGURES; latency_ms is infinite where it cannot be compared.
        sha256: Of its files, as tagged; the same for the same files.
        comparable: Whether its latency was taken where the others' was.
        fresh: Whether its latency was taken here, just now.
    """

    run: Logged
    stage: str
    figures: dict[str, float]
    sha256: str
    comparable: bool = True
    fresh: bool = False

    @property
    def title(self) -> str:
        """Run and stage, for people."""
        return one_line(f"{self.run.name} · {self.run.title(self.stage)}")

    @property
    def measured(self) -> str:
        """CPU and runtime that its latency was taken on."""
        return f"{self.run.tags.get('cpu', '?')}, {self.run.tags.get('runtime', '?')}"

    @property
    def logged_ms(self) -> float:
        """Its latency as the run logged it."""
        return self.run.metrics[f"{self.stage}/latency_ms"]

    @property
    def baseline(self) -> "Candidate":
        """The first variant of the same run."""
        stage = self.run.stages[0]
        return self if stage == self.stage else _candidate(self.run, stage, self.comparable)

    def timed(self, latency_ms: float) -> "Candidate":
        """Give it a latency that was taken here, just now."""
        figures = {**self.figures, "latency_ms": latency_ms}
        return replace(self, figures=figures, comparable=True, fresh=True)


@dataclass(frozen=True)
class Field:
    """All candidates that can be compared in accuracy.

    Args:
        candidates: The newest run's first.
        notes: What was left out, and why; for people.
    """

    candidates: list[Candidate]
    notes: list[str]


def gather(runs: Sequence[Logged], cpu: str, unshippable: Collection[str] = ()) -> Field:
    """List what can be picked.

    The newest run on this machine sets what the others are compared with: accuracies count only
    on its dataset, latencies only in its runtime, with its threads, on this CPU.

    Args:
        runs: Finished ones, the newest first.
        cpu: Of this machine.
        unshippable: Runtimes, as tagged, whose files run nowhere else.
    """
    left: Counter[str] = Counter()
    usable = []
    for run in runs:
        runtime = run.tags.get("runtime", "")
        if runtime in unshippable:
            reason = f"in runtime {runtime}, whose files do not run without paredown"
            left[reason] += len(run.stages)
        else:
            usable.append(run)
    here = [run for run in usable if run.tags.get("cpu") == cpu] or usable
    found: dict[str, Candidate] = {}
    for run in usable:
        if run.tags.get("dataset") != here[0].tags.get("dataset"):
            left[f"on another dataset, {run.tags.get('dataset')}"] += len(run.stages)
            continue
        comparable = _where(run) == (cpu, here[0].tags.get("runtime"))
        for stage in run.stages:
            if not _is_whole(run, stage):
                left["without all figures or a checksum"] += 1
                continue
            candidate = _candidate(run, stage, comparable)
            if candidate.sha256 not in found or (
                comparable and not found[candidate.sha256].comparable
            ):
                found[candidate.sha256] = candidate
    notes = [f"left out: {count:,} variants {one_line(reason)}" for reason, count in left.items()]
    return Field(list(found.values()), notes)


def _where(run: Logged) -> tuple[str | None, str | None]:
    """Name the CPU and the runtime, threads included, that latencies were taken on."""
    return run.tags.get("cpu"), run.tags.get("runtime")


def _is_whole(run: Logged, stage: str) -> bool:
    """Tell whether a stage has what the walk and the bundle need."""
    names = [f"{stage}/{name}" for name in FIGURES]
    tags = [f"{stage}/{name}" for name in ("file", "sha256")]
    return all(name in run.tags for name in tags) and all(name in run.metrics for name in names)


def _candidate(run: Logged, stage: str, comparable: bool) -> Candidate:
    figures = {name: run.metrics[f"{stage}/{name}"] for name in FIGURES}
    if not comparable:
        figures["latency_ms"] = inf
    return Candidate(run, stage, figures, run.tags[f"{stage}/sha256"], comparable)
