"""Layer responses are drawn in both orders."""

from __future__ import annotations

from pathlib import Path

from support.drawings import draw, lines
from support.stored_runs import run_of, stored, write_responses

STDS = [3.0, 1.0, 2.0, 0.5, 5.0, 4.0, 0.1]


def test_responses_are_drawn_in_their_order_and_sorted_the_largest_first(tmp_path: Path) -> None:
    write_responses(stored(tmp_path, run_of("plain8")), STDS)
    write_responses(stored(tmp_path, run_of("resnet8")), [1.0] * 7)
    write_responses(stored(tmp_path, run_of("resnet8", seed=1)), [3.0] * 7)
    runs = [run_of("plain8"), run_of("resnet8"), run_of("resnet8", seed=1)]
    figure = draw(tmp_path, "responses", runs, ("plain8", "resnet8"))
    upper, lower = figure.axes
    order = list(range(1, 8))
    assert lines(upper) == [(order, STDS), (order, [2.0] * 7)]  # the mean over seeds
    assert lines(lower)[0] == (order, sorted(STDS, reverse=True))
    plain, residual = upper.lines
    assert plain.get_color() == residual.get_color() and (plain.get_linestyle(), residual.get_linestyle()) == (
        "--",
        "-",
    )
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == ["plain8 (one seed)", "resnet8 (mean of 2 seeds)"]
    assert [a.get_xlabel() for a in (upper, lower)] == ["layer (original order)", "layer (sorted)"]
