"""Draw the figures of experiments and save them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backend_bases import get_registered_canvas_class
from matplotlib.figure import Figure

from resrepro import results
from resrepro.config.experiment import Experiment, FigureSpec
from resrepro.errors import UserError
from resrepro.figures.data import FigureKind, Seen, Shown, read_figure
from resrepro.figures.kinds import FIGURES
from resrepro.figures.look import USUAL, Look
from resrepro.files import write_bytes
from resrepro.results.tables import write_table

DOTS_PER_INCH = 200
# No dates, so that the same runs give the same bytes; PNG is packed quickly, which makes it larger by a twentieth.
FORMATS: dict[str, dict[str, Any]] = {
    "png": {"pil_kwargs": {"compress_level": 3}},
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Say what came of an experiment's figures.

    Args:
        files: those written.
        problems: a line about each damaged run.
        left_out: figures that would be blank, each with the reason.
    """

    files: tuple[Path, ...]
    problems: tuple[str, ...]
    left_out: Mapping[str, str]


def draw_experiment(
    experiment: Experiment,
    results_dir: Path,
    *,
    formats: tuple[str, ...],
    look: Look = USUAL,
    output_dir: Path | None = None,
    figures: Sequence[FigureSpec] | None = None,
    seen: Seen | None = None,
) -> Drawn:
    """Draw the figures of an experiment and write their tables, also if runs are missing or damaged.

    Args:
        experiment: as asked for; the figure says what its variation changes.
        output_dir: gets the files; None: the folder of figures in `results_dir`.
        figures: those of the experiment's that are drawn; None: all.
        seen: what has been drawn before; a figure that lacks most of its runs, and shows no other, is left out then.
    """
    folder = output_dir or results.figures_folder(results_dir)
    option = "--output-dir" if output_dir else "--results-dir"
    files: list[Path] = []
    problems: list[str] = []
    left_out = {}
    for spec in experiment.figures if figures is None else figures:
        kind = FIGURES[spec.kind]
        shown = read_figure(experiment, spec, kind, results_dir, look)
        problems += shown.data.problems
        reason = shown.why_blank(kind) or _why_old(experiment, kind, shown, seen)
        if reason and not look.show_missing:
            left_out[spec.name] = reason
            continue
        if seen is not None:
            seen.note(experiment, kind, shown)
        name = spec.name + experiment.variation.suffix
        for format, image in zip(formats, render(kind, shown, formats), strict=True):
            write_bytes(folder / f"{name}.{format}", image, option)
            files.append(folder / f"{name}.{format}")
        if kind.table is not None:
            files += write_table(kind.table(shown.rows, shown.spec, shown.data), folder, name, option)
    return Drawn(files=tuple(files), problems=tuple(problems), left_out=left_out)


def _why_old(experiment: Experiment, kind: FigureKind, shown: Shown, seen: Seen | None) -> str:
    """Return why a figure shows little that others have not shown, and what mends it; empty if it shows more."""
    if seen is None or seen.is_new(experiment, kind, shown) or not shown.lacks_most:
        return ""
    commands = dict.fromkeys(run.command for run in shown.data.runs.values() if run.missing)
    return f"shows nothing new before more runs: {' or '.join(commands)}"


def draw(kind: FigureKind, shown: Shown) -> Figure:
    """Draw a figure in its look."""
    look = shown.data.look
    with matplotlib.rc_context(look.settings):
        figure = kind.draw(shown.rows, shown.spec, shown.data)
        look.finish(figure)
    return figure


def render(kind: FigureKind, shown: Shown, formats: Sequence[str]) -> list[bytes]:
    """Draw a figure once, and return it in each of the formats; the same runs give the same bytes."""
    figure = draw(kind, shown)
    return [_image(figure, shown.data.look, format) for format in formats]


def save(draw: Callable[[], Figure], path: Path) -> None:
    """Draw a figure that is no experiment's, and write it in the format of the file's suffix."""
    with matplotlib.rc_context(USUAL.settings):
        figure = draw()
    write_bytes(path, _image(figure, USUAL, path.suffix.removeprefix(".")), "--output-dir")


def _image(figure: Figure, look: Look, format: str) -> bytes:
    """Draw once, layout included; `savefig` would draw twice.

    Raises:
        UserError: the letters leave no room for the panels.
    """
    image = io.BytesIO()
    figure.dpi = DOTS_PER_INCH
    canvas = get_registered_canvas_class(format)(figure)
    with matplotlib.rc_context(look.settings), warnings.catch_warnings():
        warnings.filterwarnings("error", message="constrained_layout not applied")
        try:
            getattr(canvas, f"print_{format}")(image, **FORMATS[format])
        except UserWarning as error:
            raise UserError(
                f"letters of {look.letter_pt:g} points leave no room in a figure {figure.get_figwidth():.3g} inches "
                "wide; give a smaller --font-size, or a larger --width"
            ) from error
    return image.getvalue()
