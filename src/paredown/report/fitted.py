"""A table that fits its window: where room is short columns go, never letters."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from paredown.printable import one_line, printable

FRAME = 3  # columns of the window beside each cell's text
NARROW = 12  # of a column that is broken between words: narrower it is hard to read


@dataclass(frozen=True)
class Column:
    """A column of a table, as plain text.

    Args:
        name: Above it.
        cells: One per row.
        rank: 0 stays; of the others the highest goes first where room is short.
        short: Takes its place then; None: it is left out.
        number: Aligned to the right and never broken; others are broken between words.
    """

    name: str
    cells: Sequence[str]
    rank: int = 0
    short: "Column | None" = None
    number: bool = True

    @property
    def least(self) -> int:
        """The width that it needs."""
        texts = (self.name, *self.cells)
        widest = max(map(cell_len, texts))
        if self.number:
            return widest
        words = max(cell_len(word) for text in texts for word in text.split() or [""])
        return min(widest, max(words, NARROW))


@dataclass(frozen=True)
class Fitted:
    """A table with a line above and lines below.

    Args:
        title: Above.
        columns: From left to right; one without a text in any cell is left out.
        notes: Below, one paragraph each.
        bold: Number of the row that is set off; -1 for none.
    """

    title: str
    columns: Sequence[Column]
    notes: Sequence[str] = ()
    bold: int = -1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay out what there is room for."""
        yield Text(one_line(self.title), style="italic")
        yield self._table(fit(self.columns, options.max_width), options.max_width)
        for note in self.notes:
            yield Text(printable(note))

    def _table(self, columns: Sequence[Column], width: int) -> Table:
        has_room = needed(columns) <= width  # else words are folded where they are long
        table = Table()
        for column in columns:
            table.add_column(
                Text(one_line(column.name)),
                min_width=column.least if has_room else None,
                justify="right" if column.number else "left",
                no_wrap=column.number,
                overflow="fold",
            )
        for index, row in enumerate(zip(*(column.cells for column in columns), strict=True)):
            style = "bold" if index == self.bold else ""
            table.add_row(*(Text(one_line(cell), style=style) for cell in row))
        return table


def needed(columns: Sequence[Column]) -> int:
    """Return the width of a table."""
    return 1 + sum(column.least + FRAME for column in columns)


def fit(columns: Sequence[Column], width: int) -> list[Column]:
    """Choose the columns that there is room for."""
    left = [column for column in columns if any(column.cells) or not column.cells]
    while needed(left) > width:
        place = max(range(len(left)), key=lambda index: left[index].rank)
        if not left[place].rank:
            break
        short = left[place].short
        left[place : place + 1] = [short] if short else []
    return left
