"""What can be picked: every stage of every finished run, each file once."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import inf

from paredown.metric import QUALITY, limited_metrics
from paredown.printable import one_line
from paredown.tracking.reader import Logged

FIGURES = (
    *(metric.name for metric in limited_metrics()),
    f"{QUALITY.name}_low",
    f"{QUALITY.name}_high",
)
"""What a stage must have been measured for to be picked."""


@dataclass(frozen=True)
class Candidate:
    """A variant as a run measured it.

    Args:
        run: Of the job that produced it.
        stage: Its name in that run.
        figures: Of FIGURES; latency_ms is infinite where it cannot be compared.
        sha256: Of its files, as tagged; the same for the same files.
        comparable: Whether its latency was measured under the others' conditions.
        fresh: Whether its latency was measured here, just now.
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
        """CPU and runtime that its latency was measured on."""
        return f"{self.run.tags.get('cpu', '?')}, {self.run.tags.get('runtime', '?')}"

    @property
    def logged_ms(self) -> float:
        """Its latency as the run logged it."""
        return self.run.metrics[f"{self.stage}/latency_ms"]

    @property
    def reported_figures(self) -> dict[str, float]:
        """Its figures, with the logged latency where it cannot be compared."""
        return self.figures if self.comparable else {**self.figures, "latency_ms": self.logged_ms}

    @property
    def baseline(self) -> "Candidate":
        """The first variant of the same run."""
        stage = self.run.stages[0]
        return self if stage == self.stage else _candidate(self.run, stage, self.comparable)

    def timed(self, latency_ms: float) -> "Candidate":
        """Return it with a latency that was measured here, just now."""
        figures = {**self.figures, "latency_ms": latency_ms}
        return replace(self, figures=figures, comparable=True, fresh=True)


@dataclass(frozen=True)
class CandidateSet:
    """All candidates that can be compared in accuracy, and notes on what was left out and why."""

    candidates: list[Candidate]
    notes: list[str]


def gather(runs: Sequence[Logged], cpu: str, unshippable: Collection[str] = ()) -> CandidateSet:
    """List the candidates of runs.

    The newest run on this machine sets what the others are compared with: accuracies count only
    on its dataset, latencies only in its runtime, with its threads, on this CPU.

    Args:
        runs: Finished ones, the newest first.
        cpu: Of this machine.
        unshippable: Runtimes, as tagged, whose files run nowhere else.
    """
    left_out: Counter[str] = Counter()
    usable = [run for run in runs if run.tags.get("runtime", "") not in unshippable]
    for run in runs:
        runtime = run.tags.get("runtime", "")
        if runtime in unshippable:
            reason = f"in runtime {runtime}, whose files do not run without paredown"
            left_out[reason] += len(run.stages)
    here = [run for run in usable if run.tags.get("cpu") == cpu] or usable
    by_file: dict[str, Candidate] = {}
    for run in usable:
        if run.tags.get("dataset") != here[0].tags.get("dataset"):
            left_out[f"on another dataset, {run.tags.get('dataset')}"] += len(run.stages)
            continue
        where = run.tags.get("cpu"), run.tags.get("runtime")
        comparable = where == (cpu, here[0].tags.get("runtime"))
        for stage in run.stages:
            if not _is_complete(run, stage):
                left_out["without all figures or a checksum"] += 1
                continue
            candidate = _candidate(run, stage, comparable)
            earlier = by_file.get(candidate.sha256)
            if earlier is None or (comparable and not earlier.comparable):
                by_file[candidate.sha256] = candidate
    notes = [
        f"left out: {count:,} variants {one_line(reason)}" for reason, count in left_out.items()
    ]
    return CandidateSet(list(by_file.values()), notes)


def _is_complete(run: Logged, stage: str) -> bool:
    """Check whether a stage has what the walk and the bundle need."""
    names = [f"{stage}/{name}" for name in FIGURES]
    tags = [f"{stage}/{name}" for name in ("file", "sha256")]
    return all(name in run.tags for name in tags) and all(name in run.metrics for name in names)


def _candidate(run: Logged, stage: str, comparable: bool) -> Candidate:
    figures = {name: run.metrics[f"{stage}/{name}"] for name in FIGURES}
    if not comparable:
        figures["latency_ms"] = inf
    return Candidate(run, stage, figures, run.tags[f"{stage}/sha256"], comparable)
