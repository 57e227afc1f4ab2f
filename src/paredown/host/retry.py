"""Retries for a server that is restarted, which takes some seconds."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from paredown.errors import first_line

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 120  # seconds


def retry_until(attempt: Callable[[], T], away: Callable[[Exception], bool], server: str) -> T:
    """Retry until a server answers, for two minutes; the wait is logged once.

    Args:
        attempt: Its own error is raised if the server refuses or stays away.
        away: Whether the server may answer later, after an error.
        server: Its name, for people.
    """
    end, logged = time.monotonic() + PATIENCE, False
    while True:
        try:
            return attempt()
        except Exception as error:
            if not away(error) or time.monotonic() > end:
                raise
            if not logged:
                log.warning("%s does not answer (%s); waiting", server, first_line(error))
            logged = True
            time.sleep(1)
