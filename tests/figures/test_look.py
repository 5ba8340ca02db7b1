"""How a figure looks: letters stay letters, in the words and sizes asked for; the same runs give the same bytes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg

from resrepro.config.toml_files import find_experiment
from resrepro.errors import UserError
from resrepro.figures.data import read_figure
from resrepro.figures.files import FORMATS, draw, render
from resrepro.figures.kinds import FIGURES
from resrepro.figures.look import Look, read_words
from resrepro.figures.palette import letters_on
from resrepro.results.paths import folder_with_runs
from support.stored_runs import store_curve

RESULTS = Path(__file__).parents[2] / "results"
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


def test_letters_that_leave_no_room_are_named(tmp_path: Path) -> None:
    store_curve(tmp_path, "plain20", 9.5)
    shown = read_figure(EXPERIMENT, SPEC, CURVES, tmp_path, Look(font_pt=60))
    with pytest.raises(UserError, match=r"^letters of 60 points leave no room in a figure .* inches wide; give a sm"):
        render(CURVES, shown, ["png"])


def test_of_two_words_the_longer_one_is_written_and_its_own_words_stay() -> None:
    look = Look(words={"training error": "test error of training", "test error": "Testfehler", "error": "Fehler"})
    assert look.said("training error, test error") == "test error of training, Testfehler"
    assert look.written == {"training error", "test error"}


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
        (f"a = {5000 * '9'}", "words.toml: Exceeds the limit"),
        (f"a = {5000 * '['}", "words.toml: maximum recursion depth exceeded"),
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


@pytest.mark.parametrize("width", [3.3, 7.0])
@pytest.mark.parametrize(
    ("experiment", "name"),
    [
        ("cifar-resnet", "fig6"),
        ("plain-vs-resnet", "plain-vs-resnet-distance"),
        ("layer-responses", "fig7"),
        ("gradient-norms", "gradients"),
        ("constructed-identity", "constructed"),
        ("cifar-decay-all", "choices-decay-all"),
        ("lesions", "lesions"),
        ("loss-surface", "loss-surface"),
        ("phase-diagram", "phase-diagram"),
        ("quickstart", "quickstart"),
    ],
)
@pytest.mark.filterwarnings("error:constrained_layout")
def test_nothing_is_cut_or_written_over_in_a_column_or_a_page(experiment: str, name: str, width: float) -> None:
    found = find_experiment(experiment)
    spec = next(spec for spec in found.figures if spec.name == name)
    source = folder_with_runs(RESULTS, found.name, found.runs)
    shown = read_figure(found, spec, FIGURES[spec.kind], source, Look(width_inches=width))
    figure = draw(FIGURES[spec.kind], shown)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, (right, top) = canvas.get_renderer(), figure.bbox.size
    texts = [axes.title for axes in figure.axes] + [axis.label for axes in figure.axes for axis in _axes_of(axes)]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    boxes = {text: text.get_window_extent(renderer) for text in texts if text.get_visible() and text.get_text()}
    for text, box in boxes.items():
        inside = box.x0 > -2 and box.y0 > -2 and box.x1 < right + 2 and box.y1 < top + 2
        assert inside, f"cut: {text.get_text()}"
    for (first, box), (second, other) in combinations(boxes.items(), 2):
        overlap = min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0)
        assert min(overlap) < 2, f"{first.get_text()} over {second.get_text()}"


def _axes_of(axes: Axes) -> list[Axis]:
    return [] if axes.name == "3d" else [axes.xaxis, axes.yaxis]


def test_letters_are_read_on_every_color_of_the_map() -> None:
    for red, green, blue, _ in colormaps["viridis"](np.linspace(0, 1, 200)):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
        contrast = {"black": (luminance + 0.05) / 0.05, "white": 1.05 / (luminance + 0.05)}
        assert contrast[letters_on((red, green, blue))] >= 4.5
