"""Waiting for a server: one that is restarted is away for some seconds."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from paredown.errors import first_line

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 120  # seconds


def patiently(attempt: Callable[[], T], away: Callable[[Exception], bool], server: str) -> T:
    """Try until a server answers again, for two minutes; the wait is told once.

    Args:
        attempt: Asks the server.
        away: Tells of an error whether the server may answer later.
        server: What is waited for, in words.

    Raises:
        Exception: The attempt's own, if the server refuses or stays away.
    """
    end, told = time.monotonic() + PATIENCE, False
    while True:
        try:
            return attempt()
        except Exception as error:
            if not away(error) or time.monotonic() > end:
                raise
            if not told:
                log.warning("%s does not answer (%s); waiting", server, first_line(error))
            told = True
            time.sleep(1)
