"""Paredown from Python: the parts of a run, one call each, with the values of conf/.

A session computes at once and keeps nothing; `python run.py` is what stores, logs and goes on.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paredown import measure
from paredown.config import build, composed
from paredown.dataset import Dataset
from paredown.errors import require
from paredown.plan import BASELINE, plan
from paredown.runtime import Program
from paredown.timing import time_side_by_side
from paredown.variant import Context, Variant

Row = dict[str, Any]


class Session:
    """One data set, one runtime, one seed.

    Args:
        overrides: As `run.py` takes them: `dataset=digits`, `training.epochs=5`, `seed=1`.

    Raises:
        ConfigError: As `run.py` would refuse.
    """

    def __init__(self, *overrides: str) -> None:
        self._overrides = overrides
        parts = plan(composed(*overrides))
        self.dataset: Dataset = parts.load()
        self.runtime, self._timing, self._seed = parts.runtime, parts.timing, parts.seed
        self._teacher: Variant | None = None

    def train(self, model: str, **settings: object) -> Variant:
        """Train a network on the labels; the first one teaches all that follow.

        Args:
            model: An option of conf/model, such as resnet18.
            settings: Of `model`, by name.
        """
        own = [f"model={model}", *_texts("model", settings)]
        trained = self._do(BASELINE, None, own)
        self._teacher = self._teacher or trained
        return trained

    def distill(self, student: str, **settings: object) -> Variant:
        """Train a fresh student on the teacher's answers and the labels.

        Args:
            student: An option of conf/model.
            settings: Of `distill`, such as temperature=4 and alpha=0.7.
        """
        own = [f"model@student={student}", *_texts("distill", settings)]
        return self._do("distill", None, own)

    def prune(self, variant: Variant, how: str = "structured", **settings: object) -> Variant:
        """Take channels or weights from a network, and fine-tune what is left.

        Args:
            variant: Stays as it is.
            how: An option of conf/prune.
            settings: Of `prune`, such as amount=0.5 and epochs=3.
        """
        return self._do("prune", variant, [f"prune={how}", *_texts("prune", settings)])

    def quantize(self, variant: Variant, how: str = "static", **settings: object) -> Variant:
        """Say in which integers a network is lowered; `qat` trains it for them, too.

        Args:
            variant: Stays as it is.
            how: An option of conf/quantize.
            settings: Of `quantize`, such as calibration_images=512.
        """
        return self._do("quantize", variant, [f"quantize={how}", *_texts("quantize", settings)])

    def lower(self, variant: Variant, folder: Path) -> Program:
        """Write the files that ship into a folder, and load them.

        Returns:
            Maps normalized images (N, C, H, W) to logits (N, classes).
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.runtime.lower(variant, self.dataset, folder)
        return self.runtime.load(folder)

    def measure(self, **variants: Variant) -> list[Row]:
        """Lower variants and measure the files: `session.measure(teacher=teacher, small=small)`.

        Returns:
            A row each, with its name as `stage`; the speed-up is against the first.
        """
        rows: list[Row] = []
        with tempfile.TemporaryDirectory(prefix="paredown-") as scratch:
            folders = [Path(scratch, name) for name in variants]
            for folder, (name, variant) in zip(folders, variants.items(), strict=True):
                program = self.lower(variant, folder)
                rows.append(
                    {
                        "stage": name,
                        **measure.accuracy(program, self.dataset, self.dataset.val),
                        "size_mb": measure.size_mb(folder),
                        "params": measure.params(variant.module),
                        "macs": measure.macs(variant.module, self.dataset.input_shape),
                    }
                )
            image = self.dataset.normalize(self.dataset.val.images[:1])
            programs = [(self.runtime, folder) for folder in folders]
            for row, latency in zip(
                rows, time_side_by_side(programs, image, self._timing), strict=True
            ):
                row |= latency.metrics()
        return rows

    def plot(self, rows: Sequence[Row], file: Path) -> None:
        """Draw accuracy against size and against latency as a PNG.

        Args:
            rows: As `measure` gives them.
            file: To write.
        """
        from paredown.pictures.rows import rows_picture

        rows_picture(rows, f"{self.dataset.name}, {self.runtime.name}", file)

    def _do(self, stage: str, variant: Variant | None, own: Sequence[str]) -> Variant:
        part = build(composed(*self._overrides, *own), stage)
        taught = stage == BASELINE or self._teacher is not None or not part.training
        require(taught, "session", "train a teacher first", stage, "session.train(MODEL)")
        made: Variant = part(variant, Context(self.dataset, self._seed, self._module, stage))
        return made

    def _module(self) -> Any:
        assert self._teacher is not None
        return self._teacher.module


def _texts(group: str, settings: dict[str, object]) -> list[str]:
    """Write settings as overrides; a name that is not there is refused by the part itself."""
    return [
        f"++{group}.{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in settings.items()
    ]
