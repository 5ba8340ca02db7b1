"""What a page is made of; html and markdown write it out. In texts, `code` stands between backticks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from resrepro.results.tables import Table


@dataclass(frozen=True, kw_only=True)
class PageFigure:
    """A figure. `file`: its SVG, None where there is nothing to draw; the notes then say what is missing."""

    title: str
    file: Path | None
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BulletList:
    """A list of sentences."""

    items: tuple[str, ...]


Block = str | BulletList | Table | PageFigure


@dataclass(frozen=True, kw_only=True)
class Section:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """`counts`: of the paper's claims by verdict, shown at the top with what `lead` says."""

    title: str
    lead: tuple[str, ...]
    counts: dict[str, int]
    sections: tuple[Section, ...]
