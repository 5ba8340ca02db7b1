"""Write what belongs to the ends of lines: beside the axes, or below them where these would be too narrow."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import offset_copy

from resrepro.figures.layout import AXIS_WORDS_EM, LETTER, TEXT, letters_in
from resrepro.figures.look import POINTS_PER_INCH, Look

LEAST_AXES_INCHES = 1.6
FRAME_INCHES = 0.65  # ticks and words at the left of the axes
JOIN_INCHES = 0.35  # between a line's end, or its sample, and the label
LINE_EM = 1.5


@dataclass(kw_only=True)
class End:
    """Hold a label at a line's end."""

    y: float
    text: str
    color: str


def arrange(num_panels: int, labels: Sequence[str], look: Look, natural_inches: float) -> tuple[int, float, bool]:
    """Return how many panels stand beside each other, their width, and whether the labels stand beside them, or below.

    All in one row if the axes get LEAST_AXES_INCHES so, with the labels beside or else below; if not, in more rows.

    Args:
        natural_inches: width of a panel where the look asks for none. Then all are in one row, and only labels that
            leave the axes less than half of LEAST_AXES_INCHES stand below.
    """
    longest = max(map(len, labels), default=0) * LETTER * look.letter_pt / POINTS_PER_INCH
    words, least = longest + JOIN_INCHES * look.scale, (FRAME_INCHES + LEAST_AXES_INCHES) * look.scale
    if look.width_inches is None:
        return num_panels, natural_inches, natural_inches >= words + least - LEAST_AXES_INCHES / 2 * look.scale
    for num_columns in range(num_panels, 1, -1):
        width = look.width_inches / num_columns
        if width >= max(least, words):
            return num_columns, width, width >= least + words
    return 1, look.width_inches, look.width_inches >= least + words


def wrapped(label: str, panel_inches: float, look: Look) -> str:
    """Return a label in lines that fit a panel."""
    letters = letters_in(panel_inches - JOIN_INCHES * look.scale, look.letter_pt)
    return textwrap.fill(label, max(12, letters), break_on_hyphens=False)


def height_below(labels: Sequence[str], look: Look) -> float:
    """Return how much room labels below the axes take, in points."""
    return LINE_EM * look.letter_pt * (sum(1 + label.count("\n") for label in labels) + 1)


def write_below(axes: Axes, ends: Sequence[End], look: Look) -> None:
    """Write labels below the axes, the highest line's first, each behind a sample of its line."""
    handles = [
        Line2D([], [], color=end.color, linewidth=2, label=end.text) for end in sorted(ends, key=lambda end: -end.y)
    ]
    left, down = 0.6 * FRAME_INCHES * look.scale, (AXIS_WORDS_EM + 0.5) * look.letter_pt / POINTS_PER_INCH
    below = offset_copy(axes.transAxes, axes.get_figure(root=True), x=-left, y=-down)
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, borderaxespad=0, borderpad=0,
        handlelength=1.5, labelspacing=LINE_EM - 1.2, labelcolor=TEXT,
    )  # fmt: skip


def write_beside(axes: Axes, ends: list[End], axis: tuple[float, float], panel_inches: float, look: Look) -> None:
    """Write labels right of the axes, moved apart so that none covers another, each joined to its line's end."""
    drawn_inches = max(0.5, panel_inches * look.zoom - 0.9 * look.scale)
    height = (axis[1] - axis[0]) * (look.letter_pt * 1.35 / POINTS_PER_INCH) / drawn_inches
    ends.sort(key=lambda end: end.y)
    places = [end.y for end in ends]
    for _ in range(200):  # neighbors push each other apart until all have room
        for i in range(len(places) - 1):
            overlap = height - (places[i + 1] - places[i])
            if overlap > 1e-9:
                places[i] -= overlap / 2
                places[i + 1] += overlap / 2
        shift = max(0.0, axis[0] + height / 2 - places[0]) if places else 0.0
        places = [p + shift for p in places]
    for end, place in zip(ends, places, strict=True):
        axes.annotate(
            end.text, xy=(1.0, end.y), xytext=(1.05, place), xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(), color=TEXT, va="center",
            arrowprops={
                "arrowstyle": "-", "color": end.color, "linewidth": 1.5 * look.scale, "shrinkA": 1, "shrinkB": 3,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )  # fmt: skip
