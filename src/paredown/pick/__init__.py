"""Choosing: the first measured variant under a budget, as a folder that deploys."""

import re
from dataclasses import dataclass

from paredown.errors import require


@dataclass(frozen=True)
class Pick:
    """How to choose, and what becomes of the choice.

    Args:
        folder: Where the bundle goes; None: picked/<run>-<stage>.
        sweep: Folder of a sweep, id or name of its run, or its number, counted from the oldest;
            None: every run of the experiment.
        tolerance: Share of accuracy, [0, 1), within which variants count as equal.
        remeasure: Take latency here and now of what meets the other limits.
        name: Of the registered model; None registers nothing.
        json: Print the result as one JSON object, and all else to stderr; `--json` does the same.
        dataset: Name of the data set of the runs; None: that of the newest run on this machine.
    """

    folder: str | None
    sweep: str | int | None
    tolerance: float
    remeasure: bool
    name: str | None
    dataset: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        require(0 <= self.tolerance < 1, "tolerance", "lie in [0, 1)", self.tolerance)
        for key in ("folder", "sweep", "dataset"):
            text = getattr(self, key)
            require(text is None or bool(str(text).strip()), key, "be a text or null", text)
        good = self.name is None or re.fullmatch(r"[\w.-][\w. -]*", self.name)
        require(bool(good), "name", "be letters, digits, dots, dashes or null", self.name)
