"""Paredown from Python: the parts of a run, one call each, with the values of conf/.

A session computes at once and keeps nothing, but for `run`, which is `python run.py`: that stores,
logs and goes on.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paredown.config import build, composed
from paredown.dataset import Dataset
from paredown.errors import require
from paredown.measure import footprint, quality
from paredown.measure.latency import time_side_by_side
from paredown.run.plan import BASELINE, plan
from paredown.runtime import Program
from paredown.session.command import run_command
from paredown.variant import Context, Variant

Row = dict[str, Any]


class Session:
    """One data set, one runtime, one seed; and a network, if one is handed in.

    Args:
        parts: Overrides as `run.py` takes them, `dataset=digits`, `training.epochs=5`, `seed=1`;
            and before them, if they are at hand, an `nn.Module` and data: a pair (images, labels)
            of arrays, a torch Dataset, or a mapping of "train", "val" and "test" to these. See
            `handover`.

    Raises:
        ConfigError: As `run.py` would refuse; or for a module that its class does not build again.
    """

    def __init__(self, *parts: Any) -> None:
        overrides = [part for part in parts if isinstance(part, str)]
        handed = [part for part in parts if not isinstance(part, str)]
        self._overrides, self._model = _named(handed, overrides)
        only = ["technique=baseline"] if self._model else []  # no student that nobody asked for
        made = plan(composed(*only, *self._overrides, *self._model))
        self.dataset: Dataset = made.load()
        self.runtime, self._timing, self._seed = made.runtime, made.timing, made.seed
        self._teacher: Variant | None = None

    @property
    def overrides(self) -> tuple[str, ...]:
        """What `python run.py` takes to work on the same data and the same network."""
        return (*self._overrides, *self._model)

    def baseline(self, epochs: int = 0) -> Variant:
        """Take the network that was handed in, and train it on the labels if it wants that.

        It teaches all that follow, unless another was trained before.

        Args:
            epochs: Of training; 0: its weights are good.
        """
        require(bool(self._model), "session", "have a network", "none", "Session(model, data)")
        own = [*self._model, f"training.epochs={epochs}"]
        trained = self._do(BASELINE, None, own)
        self._teacher = self._teacher or trained
        return trained

    def run(self, *overrides: str) -> list[Row]:
        """Do what `python run.py` does, in a process: with the store, MLflow and the table.

        Args:
            overrides: Beside the session's own, such as `technique=prune_quantize`.

        Returns:
            The rows of the table, by stage. `pick.py` finds the run as any other.

        Raises:
            RunError: If the command fails; it has said why.
        """
        return run_command(self.overrides, overrides)

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
                        **quality.accuracy(program, self.dataset, self.dataset.val),
                        "size_mb": footprint.size_mb(folder),
                        "params": footprint.params(variant.module),
                        "macs": footprint.macs(variant.module, self.dataset.input_shape),
                    }
                )
            image = self.dataset.example
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


def _named(handed: Sequence[Any], overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the overrides of a session's data, and those of its network."""
    from torch import nn

    modules = [part for part in handed if isinstance(part, nn.Module)]
    data = [part for part in handed if not isinstance(part, nn.Module)]
    rule = "take a network and data, at most one of each, and overrides"
    require(
        len(modules) <= 1 and len(data) <= 1, "Session", rule, [type(x).__name__ for x in handed]
    )
    if not handed:
        return list(overrides), []
    from paredown.session.handover import data_overrides, model_overrides

    own = [*(data_overrides(data[0]) if data else []), *overrides]
    if not modules:
        return own, []
    dataset = build(composed(*own), "dataset").load()
    return own, model_overrides(modules[0], len(dataset.classes), dataset.input_shape)


def _texts(group: str, settings: dict[str, object]) -> list[str]:
    """Write settings as overrides; a name that is not there is refused by the part itself."""
    return [
        f"++{group}.{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in settings.items()
    ]
