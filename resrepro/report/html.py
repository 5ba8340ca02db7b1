"""Write the page as one HTML file: no script, nothing loaded from elsewhere; light, dark, narrow and printed."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from resrepro.report.page import Page, PageFigure
from resrepro.report.verdict import ONE_RUN
from resrepro.results.tables import Table

FOLDER = Path(__file__).parent
MARKS = {  # verdict -> class of its badge
    "supported": "good", "consistent": "good", "holds here": "good", "inconclusive": "none", "not run": "none",
    "contradicted": "bad", "inconsistent": "bad", "does not hold here": "bad",
}  # fmt: skip
NUMBER = re.compile(r"[-+±–\d.,()× ]*\d[-+±–\d.,()× %]*|–")


def write(page: Page) -> str:
    """Return the file's text."""
    template = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    template.filters |= {"text": _text, "alignments": _alignments, "inline": _inline}
    template.globals |= {"MARKS": MARKS, "ONE_RUN": ONE_RUN}
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    return template.get_template("page.html.jinja").render(page=page, style=style) + "\n"


def _text(text: str) -> Markup:
    """Return the text escaped, with what stands between backticks as code, and its lines."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text)).replace("\n", "<br>"))


def _alignments(table: Table) -> list[Markup]:
    """Return each column's class: columns of numbers stand on the right."""
    columns = [[row[column] for row in table.rows] for column in range(len(table.columns))]
    filled = [[cell for cell in cells if cell and cell.removesuffix(ONE_RUN) not in MARKS] for cells in columns]
    return [Markup(' class="number"' if cells and all(map(NUMBER.fullmatch, cells)) else "") for cells in filled]


def _inline(figure: PageFigure, anchor: str) -> Markup:
    """Return a figure's SVG as a part of the page: names of its own, and a size that can shrink."""
    assert figure.drawing is not None
    svg = figure.drawing.svg[figure.drawing.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{anchor}-", svg)
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()  # type: ignore[union-attr]
    description = escape(f"{figure.title}: {figure.notes[0]}", quote=True)
    start = (
        f'<svg role="img" aria-label="{description}" viewBox="0 0 {width} {height}" '
        f'style="--width: {float(width) * 4 / 3:.0f}px">'
    )
    return Markup(start + svg[svg.index(">") + 1 :].strip())
