"""The Study contract: look into a path that was measured, and leave pictures and tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from paredown.dataset import Dataset

if TYPE_CHECKING:
    from paredown.path import VariantPath
    from paredown.plan import Plan


@runtime_checkable
class Study(Protocol):
    """The node `study` of a run; a file of conf/experiment sets it."""

    def __call__(self, path: "VariantPath", parts: "Plan", dataset: Dataset, folder: Path) -> str:
        """Look into the path; every variant on it has been made and measured.

        Args:
            path: Gives variants, programs and what was measured on them.
            parts: Of the run.
            dataset: Its val split judges.
            folder: Exists and is empty; what is written here is kept in MLflow under study/.

        Returns:
            What was found, for people, in a few lines.
        """
        ...
