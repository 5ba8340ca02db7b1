"""Curves of braille characters."""

from __future__ import annotations

from resrepro.cli.braille_plot import Line, plot


def test_a_plot_is_the_curve() -> None:
    falling = Line(xs=[0, 1], ys=[1, 0], style="", mark="1")
    assert [row.plain.rstrip() for row in plot([falling], width=10, height=4, x_max=1, y_max=1)] == [
        "   1┤⠑⢄", "   0┤  ⠑⢄1", "    └────", "     0iteration1",
    ]  # fmt: skip


def test_training_is_dashed_marks_stand_apart_and_nothing_is_drawn_above_the_axis() -> None:
    def dots(*lines: Line) -> int:
        return sum((ord(c) - 0x2800).bit_count() for row in plot(lines, width=60, height=12, x_max=9, y_max=10)
                   for c in row.plain if 0x2800 < ord(c) <= 0x28FF)  # fmt: skip

    solid, dashed = (Line(xs=[0, 9], ys=[5, 5], style="", dashed=d) for d in (False, True))
    assert dots(solid) == 110 and dots(dashed) == 56
    assert dots(Line(xs=[0, 9], ys=[11, 11], style="")) == 0
    twice = [Line(xs=[0, 9], ys=[5, 5], style="", mark=mark) for mark in "12"]
    assert any(row.plain.rstrip().endswith("12") for row in plot(twice, width=60, height=12, x_max=9, y_max=10))
