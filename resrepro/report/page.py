"""Define what a page is made of; html and markdown write it out. In texts, `code` stands between backticks."""

from __future__ import annotations

from dataclasses import dataclass

from resrepro.results.tables import Table


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Hold a drawn figure: its SVG, and the name of its file beside the Markdown."""

    name: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class PageFigure:
    """Show a figure, with notes below it. Without a drawing the notes say what is missing."""

    title: str
    drawing: Drawing | None
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BulletList:
    """List sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Hold blocks that are shown when one opens them."""

    summary: str
    blocks: tuple[PlainBlock, ...]


PlainBlock = str | BulletList | Table | PageFigure
Block = PlainBlock | Folded


@dataclass(frozen=True, kw_only=True)
class Section:
    """Put blocks under a heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Hold the whole page.

    Args:
        first: what is shown at the top: the figure and the table that say most.
        lead: sentences below it.
        counts: number of the paper's claims by verdict, shown at the top.
        problems: a line about each file that could not be used.
    """

    title: str
    first: tuple[PlainBlock, ...]
    lead: tuple[str, ...]
    counts: dict[str, int]
    problems: tuple[str, ...]
    sections: tuple[Section, ...]

    def drawings(self) -> list[Drawing]:
        """Return the drawings of all figures, in their order."""
        blocks = [*self.first, *(block for section in self.sections for block in section.blocks)]
        return [block.drawing for block in blocks if isinstance(block, PageFigure) and block.drawing is not None]
