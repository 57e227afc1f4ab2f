"""A page that needs no network: text, tables and Plotly's figures, light and dark, any width."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from paredown.host.files import write_atomically
from paredown.printable import printable

Figure = Mapping[str, Any]
"""Plotly's: data and layout, without colors of text and grid, which follow the reader's theme."""

COMMANDS = ("made by", "next")  # facts that are typed
TEMPLATE = Path(__file__).with_name("page.html.template")


@dataclass(frozen=True)
class Heading:
    """A heading of level 2 or 3."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        head: Names of the columns.
        rows: One text per cell.
        texts: Names of the columns that hold no numbers.
        marked: Index of the row that is set off; -1 for none.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: Sequence[str] = ()
    marked: int = -1


@dataclass(frozen=True)
class Figures:
    """Figures of Plotly, caption and figure by id; Markdown leaves them out."""

    figures: Mapping[str, tuple[str, Figure]]


@dataclass(frozen=True)
class Commands:
    """Lines for a shell."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """What, where, when: texts by their names."""

    pairs: Mapping[str, str]


@dataclass(frozen=True)
class Fold:
    """Blocks that the page shows once a reader opens them; Markdown has them below a heading.

    Args:
        title: Of the line that opens them.
        blocks: Below it.
        level: Of the heading in Markdown.
    """

    title: str
    blocks: "Sequence[Block]"
    level: int = 2


Block = Heading | Text | Table | Figures | Commands | Facts | Fold


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """Return a page of blocks; all of their texts are plain."""
    environment = jinja2.Environment(
        autoescape=True, finalize=_printable, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        content=blocks,
        commands=COMMANDS,
        json=_json,
        plotly=_plotly() if _has_figures(blocks) else "",
    )


def escaped(text: str) -> str:
    """Return plain text as HTML, as Plotly takes its texts, too."""
    return escape(printable(text))


def write(file: Path, text: str) -> None:
    """Write a page in one step."""
    write_atomically(file, lambda partial: partial.write_text(text, encoding="utf-8"))


def _printable(value: object) -> object:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _json(figure: Figure) -> Markup:
    text = json.dumps(figure, sort_keys=True, allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - no tag can end its script


def _has_figures(blocks: Iterable[Block]) -> bool:
    return any(
        _has_figures(block.blocks) if isinstance(block, Fold) else isinstance(block, Figures)
        for block in blocks
    )


@cache
def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())  # noqa: S704 - Plotly's own code
