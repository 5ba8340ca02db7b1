"""Write the page as Markdown, for GitHub; figures are links to their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from resrepro.report.page import Block, BulletList, Page, PageFigure
from resrepro.results.tables import Table


def write(page: Page, pictures: Mapping[str, Path]) -> str:
    """Return the file's text.

    Args:
        pictures: the name of each drawing -> its path, relative to the file's folder.
    """
    counts = " · ".join(f"**{count}** {status}" for status, count in page.counts.items())
    parts = [f"# {page.title}", f"Claims of the paper: {counts}.", *page.lead]
    for section in page.sections:
        parts.append(f"## {section.title}")
        parts += [_block(block, pictures) for block in section.blocks]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _block(block: Block, pictures: Mapping[str, Path]) -> str:
    match block:
        case str():
            return block
        case BulletList():
            return "\n".join(f"- {item}" for item in block.items)
        case Table():
            return _escaped(block).to_markdown()
        case PageFigure():
            lines = [f"### {block.title}"]
            if block.drawing is not None:
                lines.append(f"![{block.title}]({quote(pictures[block.drawing.name].as_posix())})")
            return "\n\n".join([*lines, "; ".join(block.notes)])


def _escaped(table: Table) -> Table:
    rows = tuple(tuple(cell.replace("|", r"\|").replace("\n", "<br>") for cell in row) for row in table.rows)
    return Table(title=table.title, columns=table.columns, rows=rows, notes=table.notes)
