"""How a figure looks: letters stay letters, in the words and sizes asked for; the same runs give the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from resrepro.config.toml_files import find_experiment
from resrepro.errors import UserError
from resrepro.figures.data import read_figure
from resrepro.figures.files import FORMATS, draw, render
from resrepro.figures.kinds import FIGURES
from resrepro.figures.look import Look, read_words
from support.stored_runs import store_curve

EXPERIMENT = find_experiment("plain20-vs-plain56")
(SPEC,) = EXPERIMENT.figures
CURVES = FIGURES["curves"]


def test_the_same_runs_give_the_same_bytes_with_text_as_text(tmp_path: Path) -> None:
    store_curve(tmp_path, "plain20", 9.5)
    shown = read_figure(EXPERIMENT, SPEC, CURVES, tmp_path)
    first, again = render(CURVES, shown, (*FORMATS,)), render(CURVES, shown, (*FORMATS,))
    assert first == again
    of = dict(zip(FORMATS, first, strict=True))
    assert b">plain-20  9.50</text>" in of["svg"]
    assert b"/FontFile2" in of["pdf"] and b"/Type3" not in of["pdf"] and b"CreationDate" not in of["pdf"]


def test_the_grid_lies_behind_the_papers_curves(tmp_path: Path) -> None:
    store_curve(tmp_path, "plain20", 9.5)
    axes = draw(CURVES, read_figure(EXPERIMENT, SPEC, CURVES, tmp_path)).axes[0]
    assert axes.lines and axes.xaxis.get_zorder() < min(line.get_zorder() for line in axes.lines)


def test_width_letters_and_words(tmp_path: Path) -> None:
    store_curve(tmp_path, "plain20", 9.5)
    look = Look(width_inches=3.3, font_pt=7, words={"error (%)": "Fehler (%)", "test error": "Testfehler"})
    figure = draw(CURVES, read_figure(EXPERIMENT, SPEC, CURVES, tmp_path, look))
    assert figure.get_figwidth() == 3.3
    upper, lower = figure.axes  # too narrow to stand beside each other
    assert upper.get_position().y0 > lower.get_position().y1
    assert (upper.get_ylabel(), lower.get_title()) == ("Fehler (%)", "Testfehler")
    assert upper.yaxis.label.get_fontsize() == 7


def test_a_slide_has_larger_letters_and_lines(tmp_path: Path) -> None:
    store_curve(tmp_path, "plain20", 9.5)
    shown = read_figure(EXPERIMENT, SPEC, CURVES, tmp_path)
    paper, slide = (
        draw(CURVES, replace(shown, data=replace(shown.data, look=Look(style=style)))) for style in ("paper", "slide")
    )
    for figure, points in ((paper, 8), (slide, 16)):
        assert {text.get_fontsize() for text in figure.axes[1].texts if "plain" in text.get_text()} == {points}
    assert slide.axes[0].lines[-1].get_linewidth() == 2 * paper.axes[0].lines[-1].get_linewidth()


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        ({"style": "screen"}, "--style screen: expected paper, slide, poster"),
        ({"width_inches": 0.5}, "--width 0.5: expected a number from 2 to 60"),
        ({"width_inches": float("nan")}, "--width nan: expected a number from 2 to 60"),
        ({"font_pt": 400.0}, "--font-size 400: expected a number from 4 to 72"),
    ],
)
def test_a_look_that_cannot_be_drawn_is_named(look: dict[str, object], expected: str) -> None:
    with pytest.raises(UserError, match=f"^{expected}$"):
        Look(**look)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "words.toml: No such file or directory; expected a TOML file"),
        ("a = ", "words.toml: Invalid value"),
        ("a = 3", "words.toml: a: expected text"),
        ("[a]", "words.toml: a: expected text"),
        ('"" = "x"', "words.toml: : expected text"),
    ],
)
def test_words_that_cannot_be_read_are_named(text: str | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "words.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=expected):
        read_words(path)
