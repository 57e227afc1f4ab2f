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
"""Opens the path of a sweep's first job."""
STUDY = "study"  # what a study leaves, in the folder of its run and in MLflow


@runtime_checkable
class Study(Protocol):
    """The node `study` of a run; a file of conf/experiment sets it."""

    def check(self, stages: "Mapping[str, Stage]", network: "nn.Module") -> None:
        """Raise ConfigError, before any work, if the study has nothing to look into.

        Args:
            stages: Of the run, by name, in order.
            network: The one that the last stages begin with, on the meta device.
        """
        ...

    def __call__(self, path: "VariantPath", folder: Path) -> str:
        """Look into the path; every variant on it has been made and measured.

        Args:
            path: Gives variants, programs and what was measured on them.
            folder: Exists; what is written here is kept in MLflow under study/.

        Returns:
            What was found, for people, in a few lines.
        """
        ...


@dataclass(frozen=True)
class Job:
    """A finished job of a sweep.

    Args:
        settings: What it was asked, by the name that was overridden, as the text after the =.
        rows: Of its stages, in order: `stage`, `note` and metrics by name.
        eager: The same of the baseline in eager PyTorch; empty where latency is taken later.
    """

    settings: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]
    eager: Mapping[str, float]

    @property
    def last(self) -> Mapping[str, Any]:
        """What was measured on the file that ships."""
        return self.rows[-1]

    def row(self, stage: str) -> Mapping[str, Any]:
        """What was measured on a stage's file."""
        return next(row for row in self.rows if row["stage"] == stage)

    def number(self, name: str) -> float:
        """Give a setting as a number."""
        return float(self.settings[name])


@runtime_checkable
class Comparison(Protocol):
    """The node `comparison` of a sweep; a file of conf/experiment sets it."""

    def check(self, settings: Sequence[Mapping[str, str]], stages: Sequence[str]) -> None:
        """Raise ConfigError, before any work, if the jobs to come cannot be compared.

        Args:
            settings: Of each job, as `Job` has them.
            stages: Names of the first job's, the baseline first.
        """
        ...

    def __call__(self, jobs: Sequence[Job], open_path: "OpenPath", folder: Path) -> str:
        """Compare the jobs of a sweep, once all of them are finished.

        Args:
            jobs: In the order of their numbers.
            open_path: Context manager of the first job's path; what was trained is in its store.
            folder: Exists; what is written here is kept in MLflow under study/ of the sweep's run.

        Returns:
            What was found, for people, in a few lines.
        """
        ...


def read_jobs(results: Sequence[Mapping[str, Any]]) -> list[Job]:
    """Take the jobs of a sweep as their result files tell them; all of them finished."""
    return [
        Job(
            settings(result["overrides"]),
            result["rows"],
            result.get("eager", {}),
        )
        for result in results
    ]


def settings(overrides: Iterable[str]) -> dict[str, str]:
    """Read what overrides set, by name."""
    return dict(text.lstrip("+").split("=", 1) for text in overrides if "=" in text)


def keep(place: Path, run: "Run") -> None:
    """Keep in MLflow what a study has left in a folder."""
    for file in sorted(place.iterdir()):
        run.log_file(file, STUDY)
