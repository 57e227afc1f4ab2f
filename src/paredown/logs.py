"""Colors of log lines in a terminal."""

import logging
import os
import sys

COLORS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}  # yellow, red


class Colored(logging.Formatter):
    """Color warnings and errors, unless stderr is no terminal or NO_COLOR is set.

    Source: no-color.org.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write a line."""
        text = super().format(record)
        plain = os.environ.get("NO_COLOR") or not sys.stderr.isatty()
        color = None if plain else COLORS.get(record.levelno)
        return text if color is None else f"\033[{color}m{text}\033[0m"
