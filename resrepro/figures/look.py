"""Say how figures look: for which page, how wide, in which words."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from resrepro.errors import UserError

POINTS_PER_INCH = 72
NATURAL_PT = 8.0  # the size of letters that lengths in the modules of figures are written for
STYLES = {"paper": (8.0, 1.0), "slide": (16.0, 1.35), "poster": (24.0, 2.2)}  # letters in points; inches to one
WIDTH_INCHES = (2.0, 60.0)
FONT_PT = (4.0, 72.0)
LEAST_EMS = 14  # width of a figure, in sizes of its letters


@dataclass(frozen=True, kw_only=True)
class Look:
    """Say how a figure is drawn, whatever it shows.

    Args:
        style: a key of STYLES: letters and lines for a journal, a projector or a poster.
        width_inches: of the whole figure; None: what its panels need.
        font_pt: size of letters; None: the style's.
        words: what is written in place of English text, such as {"training error": "Trainingsfehler"}.
        written: those of the words that a figure had a place for, as far as figures are drawn.
        with_paper: whether the paper's own curves are drawn behind ours.
        show_missing: whether panels and rows without runs are drawn, with the command that trains them.
    """

    style: str = "paper"
    width_inches: float | None = None
    font_pt: float | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    written: set[str] = field(default_factory=set, compare=False)
    with_paper: bool = True
    show_missing: bool = False

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise UserError(f"--style {self.style}: expected {', '.join(STYLES)}")
        for option, value, (least, most) in (
            ("--width", self.width_inches, WIDTH_INCHES),
            ("--font-size", self.font_pt, FONT_PT),
        ):
            if value is not None and not (math.isfinite(value) and least <= value <= most):
                raise UserError(f"{option} {value:g}: expected a number from {least:g} to {most:g}")
        least = LEAST_EMS * self.letter_pt / POINTS_PER_INCH
        if self.width_inches is not None and self.width_inches < least:
            raise UserError(
                f"--width {self.width_inches:g}: too narrow for letters of {self.letter_pt:g} points; expected "
                f"at least {math.ceil(least)}, or a --font-size of {self.width_inches * POINTS_PER_INCH // LEAST_EMS:g}"
            )

    @property
    def letter_pt(self) -> float:
        """Return the size of letters, points."""
        return self.font_pt or STYLES[self.style][0]

    @property
    def scale(self) -> float:
        """Return the size of letters and lines to one of NATURAL_PT."""
        return self.letter_pt / NATURAL_PT

    @property
    def zoom(self) -> float:
        """Return the size of panels to one of the style `paper`."""
        return STYLES[self.style][1]

    @property
    def settings(self) -> Any:
        """Return matplotlib's rcParams: small letters, a pale grid, no frame above and on the right, text as text."""
        return {
            "font.size": self.letter_pt,
            "axes.titlesize": 1.1 * self.letter_pt,
            "axes.labelsize": self.letter_pt,
            "axes.grid": True,
            "axes.axisbelow": True,  # the grid lies behind all lines, also the paper's
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.titlesize": 1.25 * self.letter_pt,
            "grid.color": "0.9",
            "grid.linewidth": 0.6,
            "legend.fontsize": self.letter_pt,
            "legend.frameon": False,
            "xtick.labelsize": self.letter_pt,
            "ytick.labelsize": self.letter_pt,
            # Each drawing has the same bytes, and its letters stay letters.
            "text.parse_math": False,  # a `$` in a title is one
            "pdf.fonttype": 42,
            "svg.fonttype": "none",
            "svg.hashsalt": "resrepro",
        }

    def finish(self, figure: Figure) -> None:
        """Scale the lines of a figure that was drawn for letters of NATURAL_PT, and write the words."""
        if self.scale != 1:  # to look for them takes as long as to draw them
            for line in figure.findobj(Line2D):
                line.set_linewidth(line.get_linewidth() * self.scale)
                line.set_markersize(line.get_markersize() * self.scale)
        if self.words:
            axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
            at_ticks = {text for axis in axes for text in axis.get_ticklabels()}  # the axis writes them itself
            for text in {*figure.findobj(Text)} - at_ticks:
                text.set_text(self.said(text.get_text()))

    def said(self, text: str) -> str:
        """Return a text with the words in place; where two fit, the longer one."""
        if not self.words:
            return text
        found = "|".join(re.escape(english) for english in sorted(self.words, key=len, reverse=True))
        self.written.update(re.findall(found, text))
        return re.sub(found, lambda match: self.words[match[0]], text)


USUAL = Look()


def read_words(path: Path) -> dict[str, str]:
    """Read a TOML file with a line for each text to replace: `"training error" = "Trainingsfehler"`.

    Raises:
        UserError: the file is not there, is no TOML, or holds something else than texts.
    """
    try:
        words = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--words {path}: {error.strerror}; expected a TOML file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--words {path}: not a text in UTF-8; expected a TOML file") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"--words {path}: {error}") from error
    for english, own in words.items():
        if not english or not isinstance(own, str):
            raise UserError(f'--words {path}: {english}: expected text, as in "iter. (1e4)" = "Iterationen (1e4)"')
    return words
