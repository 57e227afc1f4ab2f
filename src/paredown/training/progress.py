"""How far a training is: a bar in a terminal, lines elsewhere."""

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.progress import Progress

from paredown.host.logs import Pulse

log = logging.getLogger(__name__)

BETWEEN = 2.0  # seconds between the lines of two epochs, so that short ones do not fill the log


@dataclass
class TrainingProgress:
    """A bar with loss, images/s and time left; where stderr is no terminal, a line per epoch.

    Epochs of less than 2 s share a line; within an epoch of more than 30 s there are others.

    Args:
        title: What is trained.
        batch_size: Images of a step.
        steps: Of the whole training.
        epochs: Of the whole training.
    """

    title: str
    batch_size: int
    steps: int
    epochs: int

    def __enter__(self) -> "TrainingProgress":
        terminal = sys.stderr.isatty()
        self._bar = Progress(console=Console(stderr=True), transient=True, disable=not terminal)
        self._bar.start()
        self._task = self._bar.add_task(self.title, total=self.steps)
        self._pulse = Pulse()
        self._start, self.done, self.seconds = time.perf_counter(), 0, 0.0
        return self

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.done * self.batch_size / self.seconds

    def step(self, loss: float) -> None:
        """Count a step."""
        self.done += 1
        self.seconds = time.perf_counter() - self._start
        text = f"{self.title}  loss {loss:.3f}  {self.rate:.0f} images/s"
        self._bar.update(self._task, completed=self.done, description=text)
        if self._pulse.due():
            self._say(f"step {self.done} of {self.steps}, loss {loss:.3f}")

    def epoch(self, number: int, curve: Mapping[str, float]) -> None:
        """Tell of the end of an epoch.

        Args:
            number: Of the epoch, from 1.
            curve: Its mean loss, and the accuracy on the augmented batches.
        """
        if self._pulse.due(BETWEEN):
            loss, accuracy = curve["loss"], curve["accuracy"]
            done = f"epoch {number} of {self.epochs}"
            self._say(f"{done}, loss {loss:.3f}, accuracy {accuracy:.1%} of augmented images")

    def _say(self, done: str) -> None:
        left = self.seconds / self.done * (self.steps - self.done)
        log.info("%s: %s, %.0f images/s, %.0f s left", self.title, done, self.rate, left)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
