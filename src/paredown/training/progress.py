"""Training progress: a bar in a terminal, log lines elsewhere."""

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
        self._start, self._step, self.seconds = time.perf_counter(), 0, 0.0
        return self

    @property
    def rate(self) -> float:
        """Images per second."""
        return self._step * self.batch_size / self.seconds

    def step(self, loss: float) -> None:
        """Count a step."""
        self._step += 1
        self.seconds = time.perf_counter() - self._start
        text = f"{self.title}  loss {loss:.3f}  {self.rate:.0f} images/s"
        self._bar.update(self._task, completed=self._step, description=text)
        if self._pulse.due():
            self._log(f"step {self._step} of {self.steps}, loss {loss:.3f}")

    def epoch(self, number: int, curve: Mapping[str, float]) -> None:
        """Log the end of an epoch, counted from 1."""
        if self._pulse.due(BETWEEN):
            loss, accuracy = curve["loss"], curve["accuracy"]
            epoch = f"epoch {number} of {self.epochs}"
            self._log(f"{epoch}, loss {loss:.3f}, accuracy {accuracy:.1%} of augmented images")

    def summarize(self) -> None:
        """Log duration and rate of the whole training."""
        spent = self.title, self.epochs, self.seconds, self.rate
        log.info("%s: %d epochs in %.1f s, %.0f images/s", *spent)

    def _log(self, message: str) -> None:
        left = self.seconds / self._step * (self.steps - self._step)
        log.info("%s: %s, %.0f images/s, %.0f s left", self.title, message, self.rate, left)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
