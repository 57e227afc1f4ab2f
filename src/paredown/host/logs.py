"""Output of a command: colored log lines, lines of progress, and streams that may be closed."""

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
        """Return the line of a record."""
        text = printable(super().format(record))  # it may contain others' text
        plain = os.environ.get("NO_COLOR") or not sys.stderr.isatty()
        color = None if plain else COLORS.get(record.levelno)
        return text if color is None else f"\033[{color}m{text}\033[0m"


class Pulse:
    """Timer for lines of progress where no bar is drawn, because stderr is no terminal."""

    def __init__(self) -> None:
        self._lines = not sys.stderr.isatty()
        self._last = time.monotonic()

    def due(self, seconds: float = 30.0) -> bool:
        """Return whether a line is due: so many seconds have passed since the last one."""
        now = time.monotonic()
        if not self._lines or now - self._last < seconds:
            return False
        self._last = now
        return True


def open_streams() -> None:
    """Open the null device for a closed stdin, stdout or stderr.

    The next file that is opened, such as MLflow's database, would otherwise take its number, and
    output would be written into it.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, mode)
            if null != number:
                os.dup2(null, number)
                os.close(null)


@contextmanager
def ignoring_lost_stdout() -> Iterator[None]:
    """Log, and do not raise, an error of stdout, full or closed: the work is done already."""
    try:
        yield
    except OSError as error:
        log.warning("stdout takes nothing more (%s); the work is done all the same", error)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())  # else Python fails a second time at exit
            os.close(null)
