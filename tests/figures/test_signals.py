"""The columns of the figure of signals stand at the same iterations in every panel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resrepro.figures import signals
from resrepro.figures.look import Look
from support.drawings import draw
from support.stored_runs import run_of, stored, write_norms


@pytest.mark.parametrize("num_points", [2, 3])
def test_a_net_in_progress_has_its_first_columns_where_a_finished_one_has_them(num_points: int) -> None:
    whole, begun = (signals._edges(100.0 * np.arange(count)) for count in (8, num_points))
    assert begun[:num_points] == pytest.approx(whole[:num_points])


def test_in_a_narrow_figure_each_panel_has_its_bar_of_colors_beside_it(tmp_path: Path) -> None:
    runs = [run_of("plain8"), run_of("resnet8")]
    for run in runs:
        write_norms(stored(tmp_path, run), {(0, "initialization"): [0.1] * 8, (10, "end"): [0.2] * 8})
    figure = draw(tmp_path, "signals", runs, ("plain8",), ("resnet8",), look=Look(width_inches=3.3, font_pt=7.0))
    figure.canvas.draw()
    bars = [axes.get_position() for axes in figure.axes if axes.get_ylabel() == signals.COLUMNS["gradient_norm"]]
    panels = [axes.get_position() for axes in figure.axes if axes.get_title() == "p"]
    assert [(bar.y0, bar.y1) for bar in bars] == [(panel.y0, panel.y1) for panel in panels]
