"""A report as a list of blocks, written as a page for a browser or as Markdown."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paredown.pictures import page
from paredown.printable import in_markdown, one_line, printable


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
        case Facts(pairs):
            return page.facts(pairs)
        case Fold(title, blocks):
            return page.fold(title, [_html(block) for block in blocks])


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
        case Facts(pairs):
            return "\n".join(f"- {in_markdown(name)}: {_fact(name, pairs[name])}" for name in pairs)
        case Fold(title, blocks, level):
            parts = [_markdown(Heading(title, level)), *map(_markdown, blocks)]
            return "\n\n".join(part for part in parts if part)


def _fact(name: str, text: str) -> str:
    """Write a fact; a command that holds no backtick as code."""
    plain = name in page.COMMANDS and "`" not in text
    return f"`{one_line(text)}`" if plain else in_markdown(text)
