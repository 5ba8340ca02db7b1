"""Draw the figures of experiments and save them."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from resrepro import results
from resrepro.config.experiment import Experiment
from resrepro.figures.data import read_figure
from resrepro.figures.kinds import FIGURES
from resrepro.files import write_atomically
from resrepro.results.tables import write_table

FORMATS = ("png", "pdf", "svg")
DOTS_PER_INCH = 200
# Letters that the page's fonts draw, and the same names each time.
INLINE_SVG: Any = {"svg.fonttype": "none", "svg.hashsalt": "resrepro"}


def draw_experiment(
    experiment: Experiment,
    results_dir: Path,
    *,
    formats: tuple[str, ...],
    report: Callable[[str], None] = lambda _: None,
    with_paper: bool = True,
) -> list[Path]:
    """Draw every figure of an experiment and write its table, also if runs are missing or damaged: the figure says so.

    Args:
        experiment: as asked for; the figure says what its variation changes.
        report: is given a line about each damaged run.
        with_paper: whether the paper's own curves are drawn behind ours.

    Returns:
        The files written.
    """
    written = []
    for spec in experiment.figures:
        kind = FIGURES[spec.kind]
        rows, data = read_figure(experiment, spec, kind, results_dir, with_paper=with_paper)
        for problem in data.problems:
            report(problem)
        with matplotlib.rc_context({"text.parse_math": False}):  # a `$` in a title is one
            figure = kind.draw(rows, spec, data)
        path_of = partial(results.figure_file, results_dir, spec.name + experiment.variation.suffix)
        for format in formats:
            image = io.BytesIO()
            figure.savefig(image, format=format, dpi=DOTS_PER_INCH)
            write_atomically(path_of(format), lambda file, image=image: file.write(image.getvalue()))  # type: ignore[misc]
            written.append(path_of(format))
        if kind.table is not None:
            written += write_table(kind.table(rows, spec, data), path_of)
    return written


def to_svg(figure: Figure) -> str:
    """Return a figure as SVG with its text as text, the same each time it is drawn."""
    image = io.StringIO()
    with matplotlib.rc_context(INLINE_SVG):
        figure.savefig(image, format="svg", metadata={"Date": None})
    return image.getvalue()
