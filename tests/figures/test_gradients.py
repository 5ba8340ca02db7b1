"""Gradient norms are drawn on a log axis, with what is not finite."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb

from support.drawings import draw, lines, texts
from support.stored_runs import run_of, stored, write_norms

EARLY = (500, 1000, 2000, 5000)


def test_gradients_have_a_line_a_moment_on_a_log_axis(tmp_path: Path) -> None:
    norms = {(0, "initialization"): [1.0, 2, 3, 4, 5, 6, 7, 8], (12, "end"): [0.1] * 8}
    write_norms(stored(tmp_path, run_of("plain8")), norms)
    figure = draw(tmp_path, "gradients", [run_of("plain8")], ("plain8",))
    upper, lower = figure.axes
    order = list(map(float, range(1, 9)))
    assert lines(upper) == [(order, [1.0, 2, 3, 4, 5, 6, 7, 8]), (order, [0.1] * 8)]
    assert lines(lower)[1] == (order, [0.2] * 8) and upper.get_yscale() == lower.get_yscale() == "log"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "initialization (iteration 0)",
        "end (iteration 12)",
        "a new stage begins (the last layer is fc)",
    ]
    stages = [li.get_xdata()[0] for li in upper.lines if len(set(li.get_xdata())) == 1]
    assert stages == [1.5, 3.5, 5.5]


def test_as_many_moments_as_there_may_be_have_a_color_each_the_later_the_darker(tmp_path: Path) -> None:
    moments = ["initialization", *(f"iteration {i}" for i in EARLY), "before drop 1", "before drop 2", "end"]
    iterations = (0, *EARLY, 32_000, 48_000, 64_000)
    norms = {(i, moment): [float(i + 1)] * 8 for i, moment in zip(iterations, moments, strict=True)}
    write_norms(stored(tmp_path, run_of("plain8")), norms)
    figure = draw(tmp_path, "gradients", [run_of("plain8")], ("plain8",))
    legend = figure.legends[0]
    lines_of_moments = legend.get_lines()[:-1]  # the last is that of a stage
    gray = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in (to_rgb(line.get_color()) for line in lines_of_moments)]
    assert len(gray) == 8 and gray == sorted(gray, reverse=True) and min(-np.diff(gray)) > 0.03
    assert [text.get_text() for text in legend.get_texts()][1] == "iteration 500"


def test_a_net_of_other_code_has_as_many_layers_as_its_rows(tmp_path: Path) -> None:
    declared = run_of("own_nets.nets:Small", "small")
    write_norms(stored(tmp_path, declared), {(0, "initialization"): [1.0, 2, 3, 4, 5, 6, 7, 8]})
    figure = draw(tmp_path, "gradients", [declared], ("small",))
    assert [axes.get_xlim() for axes in figure.axes] == [(0.5, 8.5)] * 2


def test_a_zero_a_nan_and_a_divergence_are_shown(tmp_path: Path) -> None:
    norms = {(0, "initialization"): [0.0, 2, 3, 4, 5, 6, 7, 8], (6, "before drop 1"): [math.nan] * 8}
    write_norms(stored(tmp_path, run_of("plain8-nobn"), status="diverged", diverged_iter=10), norms)
    figure = draw(tmp_path, "gradients", [run_of("plain8-nobn")], ("plain8-nobn",))
    upper = figure.axes[0]
    assert math.isnan(lines(upper)[0][1][0]) and lines(upper)[0][1][1:] == [2.0, 3, 4, 5, 6, 7, 8]
    (zero,) = [li for li in upper.lines if li.get_marker() == "v"]
    assert list(zero.get_xdata()) == [1] and "exactly zero" in figure.legends[0].get_texts()[-1].get_text()
    assert "not finite: before drop 1" in texts(figure) and "diverged at iteration 10: plain8-nobn" in texts(figure)
    figure.savefig(tmp_path / "f.png")  # lays it out
