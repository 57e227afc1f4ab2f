"""Reading the jobs of an experiment; of a large SQLite store by two processes.

MLflow makes an object of every metric, param and tag: 1.3 ms of Python a run, so that a second
process, which imports MLflow while the first does, is worth more than any query.
"""

import contextlib
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.results import titled
from paredown.tracking.contact import connect, without_cycles

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT, STAGES, NOTE = "mlflow.parentRunId", "stages", "note"
PAGE = 500  # runs a query; MLflow takes 50,000, but holds 0.4 MB a run until the query is done
LARGE = 20_000_000  # bytes of a store, some 400 runs, from which a second process pays
OWN, OTHERS = "01234567", "89abcdef"  # first digits of a run's id, which is random


@dataclass(frozen=True)
class Logged:
    """A job's run as MLflow keeps it.

    Args:
        id, name: Of the run.
        started: Milliseconds since 1970.
        parent: Id of the run of the sweep that it belongs to; None for a single run.
        stages: Names of its variants, in order; their metrics are `<stage>/<metric>`.
        params, metrics, tags: By name.
    """

    id: str
    name: str
    started: int
    parent: str | None
    stages: tuple[str, ...]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    def title(self, stage: str) -> str:
        """Name a stage of it, for people, with what has to be said beside it."""
        return titled(stage, self.tags.get(f"{stage}/{NOTE}", ""))


@dataclass(frozen=True)
class Query:
    """Which runs are read.

    Args:
        experiment: Its id.
        condition: In MLflow's words.
    """

    experiment: str
    condition: str


class Helper:
    """A process that reads the other half; it ends with this one, or when nothing is asked."""

    def __init__(self, uri: str) -> None:
        code = "from paredown.tracking.reader import main; main()"
        command, pipe = [sys.executable, "-c", code, uri], subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True)

    def read(self, client: "MlflowClient", query: Query) -> list[Logged]:
        """Read half of what is asked while the helper reads the other."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError), self.process.stdin as stdin:
            pickle.dump(query, stdin)  # where it died, its exit code tells below
        found = read(client, query, OWN)
        answer = self.process.stdout.read()
        whole = self.process.wait() == 0
        found += pickle.loads(answer) if whole else read(client, query, OTHERS)  # noqa: S301, ours
        return sorted(found, key=lambda run: -run.started)


@contextmanager
def helper(uri: str) -> Iterator[Helper | None]:
    """Start a helper where it pays: for a large SQLite store."""
    file = Path(uri.removeprefix("sqlite:///"))
    if not file.is_file() or file.stat().st_size < LARGE:
        yield None
        return
    started = Helper(uri)
    with started.process:
        try:
            yield started
        finally:
            started.process.kill()


def read(client: "MlflowClient", query: Query, digits: str = "") -> list[Logged]:
    """Read runs, the newest first within a digit.

    Args:
        client: Of the store.
        query: Which.
        digits: Only those whose id begins with one of them; empty: all.
    """
    found: list[Logged] = []
    starts = [f" and attributes.run_id LIKE '{digit}%'" for digit in digits] or [""]
    with without_cycles():
        for start in starts:
            token, condition = None, query.condition + start
            while True:
                page = client.search_runs(
                    [query.experiment], condition, max_results=PAGE, page_token=token
                )
                found += [_logged(run) for run in page if STAGES in run.data.tags]
                token = page.token
                if not token:
                    break
    return found


def _logged(run: Any) -> Logged:
    tags = run.data.tags
    return Logged(
        id=run.info.run_id,
        name=run.info.run_name,
        started=run.info.start_time,
        parent=tags.get(PARENT),
        stages=tuple(tags[STAGES].split(",")),
        params=run.data.params,
        metrics=run.data.metrics,
        tags=tags,
    )


def main() -> None:
    """Get ready, wait for the query on stdin, answer on stdout."""
    client = connect(sys.argv[1])
    try:
        query = pickle.load(sys.stdin.buffer)  # noqa: S301, from our own parent
    except EOFError:
        return
    with without_cycles():
        pickle.dump(read(client, query, OTHERS), sys.stdout.buffer)
