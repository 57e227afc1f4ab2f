import re

from paredown.pictures.page import (
    Commands,
    Facts,
    Figures,
    Fold,
    Heading,
    Table,
    Text,
    to_html,
)
from paredown.report.document import to_markdown

EVIL = "<script>alert(1)</script> | a_b `c` *d* $e$\nnext"


def test_markdown_escapes_markup_and_keeps_a_cell_in_its_row() -> None:
    blocks = [Heading(EVIL), Text(EVIL), Table(["name", "ms"], [[EVIL, "0.1"]], ("name",))]
    lines = to_markdown(EVIL, blocks).splitlines()
    assert len(lines) == 9
    assert not re.search(r"(?<!\\)<", "\n".join(lines))
    cells = re.split(r"(?<!\\)\|", lines[-1])
    assert len(cells) == 4
    assert cells[2].strip() == "0.1"
    assert lines[-2] == "| --- | ---: |"


def test_commands_are_fenced_by_more_backticks_than_they_hold() -> None:
    text = to_markdown("t", [Commands(["python run.py 'a=```'", "two"])])
    assert "````sh\npython run.py 'a=```'\ntwo\n````" in text


def test_figures_are_for_the_browser_alone() -> None:
    block = Figures({"id": ("caption", {"data": [], "layout": {}})})
    assert to_markdown("title", [block]) == "# title\n"
    assert 'data-into="id"' in to_html("title", [block])


def test_html_escapes_everything() -> None:
    plain = [Heading(EVIL), Text(EVIL), Table([EVIL], [[EVIL]]), Commands([EVIL])]
    blocks = [*plain, Facts({EVIL: EVIL, "next": EVIL}), Fold(EVIL, [Text(EVIL)])]
    text = to_html(EVIL, blocks)
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)") == 12


def test_what_is_folded_is_opened_by_its_title_and_a_heading_in_markdown() -> None:
    blocks = [Fold("All runs", [Text("inside")])]
    assert "<details>\n<summary>All runs</summary>\n<p>inside</p>" in to_html("t", blocks)
    assert to_markdown("t", blocks) == "# t\n\n## All runs\n\ninside\n"


def test_facts_come_a_line_each_and_commands_as_code() -> None:
    text = to_markdown("t", [Facts({"data": "a_b *c*", "next": "python pick.py 'a=1'"})])
    assert text == "# t\n\n- data: a_b \\*c\\*\n- next: `python pick.py 'a=1'`\n"
