"""A report as a list of blocks, written as a page for a browser or as Markdown."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paredown.pictures import page
from paredown.printable import in_markdown, printable


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
        rows: A text a cell.
        texts: Names of the columns that hold no numbers.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Figures:
    """Figures of Plotly, caption and figure by id; Markdown leaves them out."""

    drawn: Mapping[str, tuple[str, page.Figure]]


@dataclass(frozen=True)
class Commands:
    """Lines for a shell."""

    lines: Sequence[str]


Block = Heading | Text | Table | Figures | Commands


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """Write a page that needs no network."""
    return page.page(title, [_html(block) for block in blocks])


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return page.heading(text, level)
        case Text(text):
            return page.paragraph(text)
        case Table(head, rows, texts):
            return page.table(head, rows, [name for name in head if name not in texts])
        case Figures(drawn):
            return page.figures(drawn)
        case Commands(lines):
            return f"<pre><code>{page.shown(chr(10).join(lines))}</code></pre>"


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """Write Markdown with the tables of GitHub."""
    told = [f"# {in_markdown(title)}", *(_markdown(block) for block in blocks)]
    return "\n\n".join(text for text in told if text) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {in_markdown(text)}"
        case Text(text):
            return in_markdown(text)
        case Table(head, rows, texts):
            rule = ["---" if name in texts else "---:" for name in head]
            cells = [list(map(in_markdown, row)) for row in (head, *rows)]
            cells.insert(1, rule)
            return "\n".join(f"| {' | '.join(line)} |" for line in cells)
        case Figures():
            return ""
        case Commands(lines):
            text = printable("\n".join(lines))
            longest = max((len(run) for run in re.findall("`+", text)), default=0)
            fence = "`" * max(3, longest + 1)
            return f"{fence}sh\n{text}\n{fence}"
