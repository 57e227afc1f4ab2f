"""Colors of log lines."""

import logging
import sys

import pytest

from paredown.host.logs import Colored


@pytest.mark.parametrize(
    ("terminal", "asked", "level", "colored"),
    [
        (True, "", logging.WARNING, True),
        (True, "", logging.ERROR, True),
        (True, "", logging.INFO, False),
        (True, "1", logging.WARNING, False),
        (False, "", logging.WARNING, False),
    ],
)
def test_warnings_are_colored_in_a_terminal_without_no_color(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, asked: str, level: int, colored: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("NO_COLOR", asked)
    record = logging.LogRecord("paredown", level, "", 0, "sent %s", ("this",), None)
    text = Colored("%(message)s").format(record)
    assert ("\033[" in text) == colored
    assert "sent this" in text
