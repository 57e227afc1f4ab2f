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
    """Retry for two minutes while a server is away, which is logged once; then raise the error."""
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
