"""Text of others, made safe to show in a terminal, on a page and in Markdown."""

import re
from collections.abc import Sequence

# C0 and C1 but tab and newline, line separators, bidirectional controls, halves of surrogates
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKUP = re.compile(r"[\\`*<>\[\]|#~$&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_USER = re.compile(  # a password may hold an @ or a / itself; digits alone are a port
    r"(://[^:/@\[\s]*):(?!\d*(?:[/?#\s]|$))(?:[^/\s]+@|(?:(?!://)\S)+@)"
)
_QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:passw|passphrase|pwd|token|secret|api_?key|access_?key|credential|signature"
    r"|bearer|[_-]key)[\w.-]*|key|pass|sig|auth|authorization|jwt)=)"
    r"(?:'[^']*'|\"[^\"]*\"|[^&;#\s'\"]+)",
    re.IGNORECASE,
)


def printable(text: str) -> str:
    r"""Return a text with control and unwritable characters escaped, such as `\x1b`."""
    return _HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Return a text in one line, printable."""
    return printable(" ".join(text.split()))


def few(names: Sequence[str], count: int) -> str:
    """Join the first names of many with commas, and an ellipsis for the rest."""
    return ", ".join(names[:count]) + ", …" * (len(names) > count)


def in_markdown(text: str) -> str:
    """Return a text in one line, with Markdown's special characters escaped.

    An underscore within a word is none.
    """
    return _MARKUP.sub(r"\\\g<0>", one_line(text))


def hide_passwords(text: str) -> str:
    """Replace the passwords, keys and tokens of every URL in a text by stars."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1:***@", text))
