"""Write the report's files."""

from __future__ import annotations

from pathlib import Path

from resrepro import results
from resrepro.files import write_text
from resrepro.report import html, markdown
from resrepro.report.page import Page


def write(page: Page, folder: Path, name: str = "report") -> list[Path]:
    """Write report.html, which needs no other file, and report.md with its pictures beside it in `figures/`.

    Args:
        name: in place of `report`.

    Returns:
        The paths of both pages.
    """
    drawings = page.drawings()
    pictures = {drawing.name: results.figure_file(Path(), drawing.name, "svg") for drawing in drawings}
    texts = {pictures[drawing.name]: drawing.svg for drawing in drawings}
    pages = {Path(f"{name}.html"): html.write(page), Path(f"{name}.md"): markdown.write(page, pictures)}
    for path, text in (texts | pages).items():
        write_text(folder / path, text, option="--output-dir")
    return [folder / path for path in pages]
