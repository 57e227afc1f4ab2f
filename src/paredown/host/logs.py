"""What a command says: colors of log lines in a terminal, and a stdout that may be gone."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from paredown.printable import printable

log = logging.getLogger(__name__)

COLORS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}  # yellow, red


class Colored(logging.Formatter):
    """Color warnings and errors, unless stderr is no terminal or NO_COLOR is set.

    Source: no-color.org.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write a line."""
        text = printable(super().format(record))  # names of others are in it
        plain = os.environ.get("NO_COLOR") or not sys.stderr.isatty()
        color = None if plain else COLORS.get(record.levelno)
        return text if color is None else f"\033[{color}m{text}\033[0m"


class Pulse:
    """Say when the next line is due where no progress bar is drawn: stderr is no terminal."""

    def __init__(self) -> None:
        self._lines = not sys.stderr.isatty()
        self._last = time.monotonic()

    def due(self, seconds: float = 30.0) -> bool:
        """Tell whether a line is due: so many seconds have passed since the one before."""
        now = time.monotonic()
        if not self._lines or now - self._last < seconds:
            return False
        self._last = now
        return True


def open_streams() -> None:
    """Give a closed stdin, stdout or stderr a place: the next file that is opened would be taken.

    What is printed would be written into that file, such as MLflow's database.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            empty = os.open(os.devnull, mode)
            if empty != number:
                os.dup2(empty, number)
                os.close(empty)


@contextmanager
def told_if_lost() -> Iterator[None]:
    """Go on where stdout takes nothing, full or closed: what a command did is done all the same."""
    try:
        yield
    except OSError as error:
        log.warning("stdout takes nothing more (%s); the work is done all the same", error)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            empty = os.open(os.devnull, os.O_WRONLY)
            os.dup2(empty, sys.stdout.fileno())  # else Python fails once more on its way out
            os.close(empty)
