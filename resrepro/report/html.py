"""The page as one HTML file: no script, nothing loaded from elsewhere; light, dark, narrow and printed."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from resrepro.report.claims import ONE_SEED
from resrepro.report.page import Block, BulletList, Page, PageFigure
from resrepro.results.tables import Table

STYLE = Path(__file__).with_name("style.css")
MARKS = {  # verdict -> class of its badge
    "reproduced": "good", "holds here": "good", "not reproduced": "bad", "does not hold here": "bad", "not run": "none",
}  # fmt: skip
NUMBER = re.compile(r"[-+±–\d.,()× ]*\d[-+±–\d.,()× %]*|–")
# What matplotlib draws in black, grays and white takes the page's colors.
THEME = {
    "#000000": "currentColor", "#333333": "currentColor", "#404040": "currentColor", "#4c4c4c": "currentColor",
    "#737373": "var(--quiet)", "#808080": "var(--quiet)", "#999999": "var(--quiet)", "#e6e6e6": "var(--line)",
    "#ffffff": "var(--paper)", "#0072b2": "var(--blue)",
}  # fmt: skip


def write(page: Page) -> str:
    """The file's text."""
    sections = [(f"s{number}", section) for number, section in enumerate(page.sections, start=1)]
    links = "".join(f'<li><a href="#{anchor}">{_text(section.title)}</a></li>' for anchor, section in sections)
    counts = "".join(
        f'<div class="{MARKS[status]}"><dt>{escape(status)}</dt><dd>{count}</dd></div>'
        for status, count in page.counts.items()
    )
    body = "".join(
        f'<section id="{anchor}"><h2>{_text(section.title)}</h2>'
        + "".join(_block(block, f"{anchor}-{index}") for index, block in enumerate(section.blocks, start=1))
        + "</section>\n"
        for anchor, section in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_text(page.title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<h1>{_text(page.title)}</h1>
<p>He, Zhang, Ren, Sun 2015 (arXiv 1512.03385): the paper's numbers beside those of our runs.</p>
<dl class="counts" aria-label="The paper's claims by verdict">{counts}</dl>
{"".join(f"<p>{_text(line)}</p>" for line in page.lead)}
</header>
<nav aria-label="Contents"><ol>{links}</ol></nav>
<main>
{body}</main>
<footer><p>Made by <code>resrepro report</code>. Ours comes from the records in the results folder alone.</p></footer>
</body>
</html>
"""


def _text(text: str) -> str:
    """Escaped, with what stands between backticks as code, and its lines."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text)).replace("\n", "<br>")


def _block(block: Block, anchor: str) -> str:
    match block:
        case str():
            return f"<p>{_text(block)}</p>\n"
        case BulletList():
            return f"<ul>{''.join(f'<li>{_text(item)}</li>' for item in block.items)}</ul>\n"
        case Table():
            return _table(block, anchor)
        case PageFigure():
            return _picture(block, anchor)


def _table(table: Table, anchor: str) -> str:
    classes = [_alignment([row[column] for row in table.rows]) for column in range(len(table.columns))]
    head = "".join(
        f'<th scope="col"{kind}>{_text(column)}</th>' for column, kind in zip(table.columns, classes, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{_text(row[0])}</th>'
        + "".join(f"<td{kind}>{_cell(text)}</td>" for text, kind in zip(row[1:], classes[1:], strict=True))
        + "</tr>\n"
        for row in table.rows
    )
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in table.notes)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{anchor}"><table>'
        f'<caption id="{anchor}">{_text(table.title)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}</tbody></table></div>{notes}\n"
    )


def _alignment(cells: list[str]) -> str:
    """Columns of numbers stand on the right."""
    filled = [cell for cell in cells if cell and cell not in MARKS]
    return ' class="number"' if filled and all(map(NUMBER.fullmatch, filled)) else ""


def _cell(text: str) -> str:
    word = text.removesuffix(ONE_SEED)
    if word not in MARKS:
        return _text(text)
    weak, remark = (" weak", f"<br>{escape(ONE_SEED)}") if text != word else ("", "")
    return f'<span class="verdict {MARKS[word]}{weak}">{escape(word)}</span>{remark}'


def _picture(picture: PageFigure, anchor: str) -> str:
    notes = "".join(f"<li>{_text(note)}</li>" for note in picture.notes)
    caption = f"<figcaption><h3>{_text(picture.title)}</h3><ul>{notes}</ul></figcaption>"
    if picture.drawing is None:
        return f'<figure class="missing">{caption}</figure>\n'
    drawn = _inline(picture.drawing.svg, anchor, f"{picture.title}: {picture.notes[0]}")
    label = escape(picture.title, quote=True)
    return (
        f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{label}">{drawn}</div>{caption}</figure>\n'
    )


def _inline(svg: str, anchor: str, description: str) -> str:
    """A figure's file as a part of the page: names of its own, the page's colors, a size that can shrink."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{anchor}-", svg)
    svg = re.sub("|".join(THEME), lambda color: THEME[color[0]], svg)
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()  # type: ignore[union-attr]
    start = (
        f'<svg role="img" aria-label="{escape(description, quote=True)}" viewBox="0 0 {width} {height}" '
        f'style="--width: {float(width) * 4 / 3:.0f}px">'
    )
    return start + svg[svg.index(">") + 1 :].strip()
