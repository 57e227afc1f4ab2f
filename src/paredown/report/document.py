"""A report as Markdown, block by block; `pictures.page` writes the same blocks for a browser."""

import re
from collections.abc import Sequence

from paredown.pictures.page import (
    COMMANDS,
    Block,
    Commands,
    Facts,
    Figures,
    Fold,
    Heading,
    Table,
    Text,
)
from paredown.printable import in_markdown, one_line, printable


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """Write Markdown with the tables of GitHub."""
    texts = [f"# {in_markdown(title)}", *map(_markdown, blocks)]
    return "\n\n".join(filter(None, texts)) + "\n"


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
            fence = "`" * max(3, *(len(run) + 1 for run in ["", *re.findall("`+", text)]))
            return f"{fence}sh\n{text}\n{fence}"
        case Facts(pairs):
            return "\n".join(f"- {in_markdown(name)}: {_fact(name, pairs[name])}" for name in pairs)
        case Fold(title, blocks, level):
            parts = [_markdown(Heading(title, level)), *map(_markdown, blocks)]
            return "\n\n".join(filter(None, parts))


def _fact(name: str, text: str) -> str:
    """Write a fact; a command without backticks as code."""
    is_code = name in COMMANDS and "`" not in text
    return f"`{one_line(text)}`" if is_code else in_markdown(text)
