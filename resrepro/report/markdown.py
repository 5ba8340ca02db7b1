"""Write the page as Markdown, for GitHub; figures are links to their files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from resrepro.report.page import Block, BulletList, Folded, Page, PageFigure
from resrepro.results.tables import Table

PAPER = "He, Zhang, Ren, Sun 2015 ([arXiv 1512.03385](https://arxiv.org/abs/1512.03385)), and our runs beside it."


def write(page: Page, pictures: Mapping[str, Path]) -> str:
    """Return the file's text.

    Args:
        pictures: the name of each drawing -> its path, relative to the file's folder.
    """
    counts = " · ".join(f"**{count}** {status}" for status, count in page.counts.items())
    parts = [f"# {_text(page.title)}", PAPER, *(_block(block, pictures) for block in page.first)]
    parts += [f"Claims of the paper: {counts}.", *map(_text, page.lead)]
    for section in page.sections:
        parts.append(f"## {_text(section.title)}")
        parts += [_block(block, pictures) for block in section.blocks]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _block(block: Block, pictures: Mapping[str, Path]) -> str:
    match block:
        case str():
            return _text(block)
        case BulletList():
            return "\n".join(f"- {_text(item)}" for item in block.items)
        case Folded():
            inside = "\n\n".join(_block(one, pictures).strip("\n") for one in block.blocks)
            return f"<details><summary>{_text(block.summary)}</summary>\n\n{inside}\n\n</details>"
        case Table():
            return _escaped(block).to_markdown()
        case PageFigure():
            lines = [f"### {_text(block.title)}"]
            if block.drawing is not None:
                lines.append(f"![{_text(block.title)}]({quote(pictures[block.drawing.name].as_posix())})")
            return "\n\n".join([*lines, "; ".join(map(_text, block.notes))])


def _escaped(table: Table) -> Table:
    rows = tuple(tuple(_text(cell).replace("|", r"\|").replace("\n", "<br>") for cell in row) for row in table.rows)
    columns, notes = (tuple(map(_text, texts)) for texts in (table.columns, table.notes))
    return Table(title=_text(table.title), columns=columns, rows=rows, notes=notes)


def _text(text: str) -> str:
    """Return a text in which nothing is HTML; what stands between backticks is none anyway."""
    return re.sub(r"`[^`]*`|<(?=[A-Za-z/!?])", lambda found: found[0] if found[0] != "<" else r"\<", text)
