"""Lines of a figure are told apart by color, dashes and marks."""

from __future__ import annotations

from resrepro.figures.colors import LINE_COLORS, distinct_colors
from resrepro.figures.data import FigureRun
from resrepro.figures.layout import line_looks, mark_every


def test_lines_that_share_a_color_have_other_marks() -> None:
    names = [f"resnet{number}" for number in range(2 * len(LINE_COLORS))]
    colors = distinct_colors(dict.fromkeys(names, 56), [names])
    residual = [FigureRun(label=name, depth=56, residual=True, color=colors[name]) for name in names]
    plain = [FigureRun(label="plain", depth=56, color=color) for color in LINE_COLORS]
    runs = {str(number): run for number, run in enumerate([*plain, *residual])}
    looks = [*line_looks(runs, runs).values()]
    assert len({(look["color"], look["marker"]) for look in looks}) == len(looks)
    assert not {look["marker"] for look in looks[: len(plain)]} & {look["marker"] for look in looks[len(plain) :]}


def test_marks_of_lines_side_by_side_stand_at_other_points() -> None:
    marked = [set(range(60)[start::step]) for start, step in (mark_every(index, 60) for index in range(7))]
    assert all(6 <= len(points) <= 9 for points in marked) and not set.intersection(*marked)
    assert mark_every(3, 5) == (0, 1)
