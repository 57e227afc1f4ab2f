"""The contracts of studies: of one run, and of the finished jobs of a sweep."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import nn

    from paredown.run.path import VariantPath
    from paredown.tracking.run import Run
    from paredown.variant import Stage

OpenPath = Callable[[], "AbstractContextManager[VariantPath]"]
STUDY = "study"  # folder of a study's files, in its run's folder and in MLflow


@runtime_checkable
class Study(Protocol):
    """The node `study` of a run, set by a file of conf/experiment."""

    def check(self, stages: "Mapping[str, Stage]", network: "nn.Module") -> None:
        """Raise ConfigError, before any work, if the run cannot be studied.

        Args:
            stages: Of the run, by name, in order.
            network: The input of the last stages, on the meta device.
        """
        ...

    def __call__(self, path: "VariantPath", folder: Path) -> str:
        """Study the path; every variant on it has been made and measured.

        Args:
            path: Has the variants, their programs and their metrics.
            folder: Exists; files in it are logged to MLflow under study/.

        Returns:
            A summary of a few lines, for people.
        """
        ...


@dataclass(frozen=True)
class Job:
    """A finished job of a sweep.

    Args:
        settings: Its overrides, by name, as the text after the =.
        rows: One per stage, in order: `stage`, `note` and metrics by name.
        eager: Metrics of the baseline in eager PyTorch; empty if latency is measured later.
    """

    settings: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]
    eager: Mapping[str, float]

    @property
    def last(self) -> Mapping[str, Any]:
        """Metrics of the file that ships."""
        return self.rows[-1]

    def row(self, stage: str) -> Mapping[str, Any]:
        """Return the metrics of a stage's file."""
        return next(row for row in self.rows if row["stage"] == stage)

    def number(self, name: str) -> float:
        """Return a setting as a number."""
        return float(self.settings[name])


@runtime_checkable
class Comparison(Protocol):
    """The node `comparison` of a sweep, set by a file of conf/experiment."""

    def check(self, settings: Sequence[Mapping[str, str]], stages: Sequence[str]) -> None:
        """Raise ConfigError, before any work, if the jobs to come cannot be compared.

        Args:
            settings: Of each job, as in `Job`.
            stages: Names of the first job's stages, the baseline first.
        """
        ...

    def __call__(self, jobs: Sequence[Job], open_path: "OpenPath", folder: Path) -> str:
        """Compare the jobs of a sweep, once all of them are finished.

        Args:
            jobs: In the order of their numbers.
            open_path: Context manager of the first job's path; its variants are in the store.
            folder: Exists; files in it are logged to MLflow under study/ of the sweep's run.

        Returns:
            A summary of a few lines, for people.
        """
        ...


def read_jobs(results: Sequence[Mapping[str, Any]]) -> list[Job]:
    """Return the jobs of a sweep from their result files; all of them finished."""
    return [
        Job(settings(result["overrides"]), result["rows"], result.get("eager", {}))
        for result in results
    ]


def settings(overrides: Iterable[str]) -> dict[str, str]:
    """Return the values of overrides, by name."""
    return dict(text.lstrip("+").split("=", 1) for text in overrides if "=" in text)


def log_files(folder: Path, run: "Run") -> None:
    """Log the files of a study to MLflow."""
    for file in sorted(folder.iterdir()):
        run.log_file(file, STUDY)
