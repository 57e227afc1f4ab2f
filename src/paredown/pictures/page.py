"""A page that needs no network: text, tables and Plotly's figures, light and dark, any width."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from paredown.printable import printable

Figure = Mapping[str, Any]
"""Plotly's: data and layout, without colors of text and grid, which follow the reader's theme."""

COMMANDS = ("made by", "next")  # facts that are typed

CSS = """
:root { color-scheme: light dark; --ink: #1f2430; --soft: #5b6472; --line: #dfe3e9;
  --ground: #ffffff; --card: #f7f8fa; --mark: #e8f1fc }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ec; --soft: #9aa3b2; --line: #343a46;
  --ground: #14171d; --card: #1b1f27; --mark: #1d3047 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem clamp(.75rem, 3vw, 2.5rem) 3rem; max-width: 110rem;
  background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.35rem; margin: .5rem 0; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
h3 { font-size: 1rem; margin: 1.25rem 0 .4rem; overflow-wrap: anywhere }
p { margin: .4rem 0; color: var(--soft); max-width: 75ch; overflow-wrap: anywhere }
.figures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 32rem), 1fr)) }
figure { margin: 0; min-width: 0; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: .6rem .5rem .2rem }
.plot { height: 420px }
@media (max-width: 40rem) { .plot { height: 480px } }
figcaption { font-weight: 600; padding: 0 .5rem }
.wide { overflow: auto; max-width: 100%; max-height: 80vh; margin: .75rem 0;
  border: 1px solid var(--line); border-radius: 8px;
  width: fit-content }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92em }
th, td { padding: .35rem .7rem; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top }
th { white-space: nowrap; background: var(--card); font-weight: 600; position: sticky; top: 0 }
tr:last-child td { border-bottom: 0 }
td { white-space: nowrap }
td.number, th.number { text-align: right }
tr.marked td { background: var(--mark) }
code { font: .88em ui-monospace, monospace; overflow-wrap: anywhere }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .6rem .8rem; white-space: pre-wrap }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1rem;
  margin: .75rem 0 }
.facts dt { color: var(--soft) }
.facts dd { margin: 0; overflow-wrap: anywhere; max-width: 95ch }
details { margin: .75rem 0; border-top: 1px solid var(--line) }
details > summary { cursor: pointer; font-size: 1.1rem; font-weight: 600; padding: .5rem 0 }
details details > summary { font-size: 1rem }
details .wide { max-height: 28rem }
@media (max-width: 40rem) { .facts { grid-template-columns: minmax(0, 1fr) }
  .facts dd { margin-bottom: .35rem } }
"""
SCRIPT = """
const dark = matchMedia("(prefers-color-scheme: dark)");
function draw() {
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  for (const source of document.querySelectorAll("script.figure")) {
    if (source.closest("details:not([open])")) continue;  // it has no width yet
    const figure = JSON.parse(source.textContent);
    const layout = { ...figure.layout, paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: color("--ink"), family: "system-ui, sans-serif", size: 12 },
      hoverlabel: { bgcolor: color("--ground"), bordercolor: color("--line"),
        font: { color: color("--ink") }, align: "left" } };
    for (const axis of ["xaxis", "yaxis"])
      layout[axis] = { ...layout[axis], gridcolor: color("--line"),
        linecolor: color("--soft"), zerolinecolor: color("--line") };
    Plotly.react(source.dataset.into, figure.data, layout,
      { responsive: true, displayModeBar: false });
  }
}
draw();
dark.addEventListener("change", draw);
for (const fold of document.querySelectorAll("details")) fold.addEventListener("toggle", draw);
"""


def shown(text: str) -> str:
    """Write plain text as HTML; Plotly takes its texts so, too."""
    return escape(printable(text))


def page(title: str, parts: Sequence[str]) -> str:
    """Write a whole page.

    Args:
        title: Plain text.
        parts: HTML, in order; figures, tables, paragraphs, headings of this module.
    """
    body = "\n".join(parts)
    drawn = f"<script>{_plotly()}</script>\n<script>{SCRIPT}</script>\n"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{shown(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"<h1>{shown(title)}</h1>\n{body}\n{drawn if 'script' in body else ''}</body>\n</html>\n"
    )


def figures(drawn: Mapping[str, tuple[str, Figure]]) -> str:
    """Lay out figures side by side where there is room.

    Args:
        drawn: Caption and figure by id; an id is unique in its page.
    """
    told = []
    for name, (caption, figure) in drawn.items():
        data = json.dumps(figure, sort_keys=True, allow_nan=False).replace("<", "\\u003c")
        told.append(
            f'<figure><figcaption>{shown(caption)}</figcaption><div id="{shown(name)}" '
            f'class="plot"></div><script type="application/json" class="figure" '
            f'data-into="{shown(name)}">{data}</script></figure>'
        )
    return '<div class="figures">\n' + "\n".join(told) + "\n</div>"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str], marked: int = -1
) -> str:
    """Lay out a table that scrolls by itself where the window is narrow.

    Args:
        head: Names of the columns.
        rows: A text a cell.
        numbers: Names of the columns that hold numbers.
        marked: Which row is set off; -1 for none.
    """
    kinds = [' class="number"' if name in numbers else "" for name in head]
    top = "".join(f"<th{kind}>{shown(name)}</th>" for kind, name in zip(kinds, head, strict=True))
    lines = []
    for at, row in enumerate(rows):
        cells = zip(kinds, row, strict=True)
        line = "".join(f"<td{kind}>{shown(cell)}</td>" for kind, cell in cells)
        lines.append(f'<tr class="marked">{line}</tr>' if at == marked else f"<tr>{line}</tr>")
    body = "\n".join(lines)
    return f'<div class="wide"><table>\n<tr>{top}</tr>\n{body}\n</table></div>'


def paragraph(text: str) -> str:
    """Write a paragraph of plain text."""
    return f"<p>{shown(text)}</p>"


def facts(pairs: Mapping[str, str]) -> str:
    """List facts in plain text by their names; one that is a command is set as such."""
    lines = []
    for name, text in pairs.items():
        value = f"<code>{shown(text)}</code>" if name in COMMANDS else shown(text)
        lines.append(f"<dt>{shown(name)}</dt><dd>{value}</dd>")
    return '<dl class="facts">\n' + "\n".join(lines) + "\n</dl>"


def fold(title: str, parts: Sequence[str]) -> str:
    """Put parts under a line that opens them."""
    body = "\n".join(parts)
    return f"<details>\n<summary>{shown(title)}</summary>\n{body}\n</details>"


def heading(text: str, level: int = 2) -> str:
    """Write a heading of plain text."""
    return f"<h{level}>{shown(text)}</h{level}>"


def write(file: Path, text: str) -> None:
    """Put a page in its place in one step."""
    partial = file.with_name(f".{file.name}")
    partial.write_text(text, encoding="utf-8")
    partial.rename(file)


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())
