"""Draw curves with braille characters, each of 2 x 4 dots.

plotext 6.1 does not take its place: it draws no dashed curves, so that training and test errors look alike without
colors, it writes the marks of runs that end with the same error over each other, and takes 0.25 s to import.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.text import Text

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # bits of a braille character, [row][column]
BLANK = 0x2800
LABEL_WIDTH = 4
DASH_DOTS = 2  # drawn, and as many left out


@dataclass(frozen=True, kw_only=True)
class Line:
    """Describe one curve: at least one point, x increasing from 0 or more.

    Args:
        style: the style of its dots, as rich writes it.
        dashed: whether every other pair of dots is left out.
        mark: a character beside its last point.
    """

    xs: Sequence[float]
    ys: Sequence[float]
    style: str
    dashed: bool = False
    mark: str = ""


def plot(lines: Sequence[Line], *, width: int, height: int, x_max: float, y_max: float) -> list[Text]:
    """Draw lines between axes from 0 to `x_max` and `y_max`, later ones over earlier ones, and nothing outside.

    Returns:
        `height` rows of at most `width` characters, with the axes and their labels.
    """
    rows = height - 2
    columns = width - LABEL_WIDTH - 1 - sum(bool(line.mark) for line in lines)
    cells: dict[tuple[int, int], tuple[int, str]] = {}
    marks: dict[tuple[int, int], Text] = {}
    for line in lines:
        dots = [
            (round(x / x_max * (2 * columns - 1)), round((1 - y / y_max) * (4 * rows - 1)))
            for x, y in zip(line.xs, line.ys, strict=True)
        ]
        for number, (x, y) in enumerate(_joined(dots)):
            if not (line.dashed and number // DASH_DOTS % 2):
                bits, _ = cells.get((y // 4, x // 2), (0, ""))
                cells[y // 4, x // 2] = (bits | DOTS[y % 4][x % 2], line.style)
        if line.mark:
            column, row = dots[-1][0] // 2 + 1, min(max(dots[-1][1] // 4, 0), rows - 1)
            while (row, column) in marks:
                column += 1
            marks[row, column] = Text(line.mark, f"bold {line.style}")
    num_ticks = 5 if rows > 8 and y_max % 4 == 0 else 3
    ticks = {round((1 - i / (num_ticks - 1)) * (rows - 1)): i / (num_ticks - 1) * y_max for i in range(num_ticks)}
    drawn = []
    for row in range(rows):
        label = f"{ticks[row]:{LABEL_WIDTH}g}┤" if row in ticks else " " * LABEL_WIDTH + "│"
        text = Text(label)
        for column in range(width - LABEL_WIDTH - 1):
            bits, style = cells.get((row, column), (0, ""))
            text.append_text(marks.get((row, column)) or Text(chr(BLANK + bits) if bits else " ", style))
        drawn.append(text)
    last = f"{x_max:g}"
    drawn.append(Text(" " * LABEL_WIDTH + "└" + "─" * columns))
    drawn.append(Text(f"{'0':>{LABEL_WIDTH + 2}}{'iteration':^{columns - 1 - len(last)}}{last}"))
    return drawn


def _joined(dots: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the dots, and those on the straight ways between them."""
    yield dots[0]
    for (x0, y0), (x1, y1) in pairwise(dots):
        steps = max(abs(x1 - x0), abs(y1 - y0))
        for step in range(1, steps + 1):
            yield round(x0 + (x1 - x0) * step / steps), round(y0 + (y1 - y0) * step / steps)
