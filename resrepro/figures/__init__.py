"""Figures, drawn from CSV and JSON alone. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from resrepro.config.experiment import FigureSpec
from resrepro.config.run import Run
from resrepro.figures import constructed, curves, effects, gradients, responses
from resrepro.figures.layout import FigureContext
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint, LayerNorms, Response, RunRecord
from resrepro.results.tables import Table


@dataclass(frozen=True, kw_only=True)
class FigureKind:
    """One kind of figure.

    Args:
        columns: of its data, after run (its name), label, seed and status (finished, diverged, unfinished).
        rows: of a run: what it draws, a dict a row; raises UserError where the run's files are damaged, or lack what
            a finished run has.
        draw: of the data of all runs.
        table: what is written beside the figure as Markdown and CSV.
    """

    columns: tuple[str, ...]
    rows: Callable[[RunFiles, Run, RunRecord | None], list[dict[str, object]]]
    draw: Callable[[pd.DataFrame, FigureSpec, FigureContext], Figure]
    table: Callable[[FigureSpec, FigureContext], Table] | None = None


FIGURES = {
    "curves": FigureKind(columns=(*CurvePoint.model_fields,), rows=curves.rows, draw=curves.draw),
    "effects": FigureKind(
        columns=(*CurvePoint.model_fields,), rows=curves.rows, draw=effects.draw, table=effects.table
    ),
    "responses": FigureKind(columns=(*Response.model_fields,), rows=responses.rows, draw=responses.draw),
    "gradients": FigureKind(columns=(*LayerNorms.model_fields,), rows=gradients.rows, draw=gradients.draw),
    "identity": FigureKind(columns=constructed.FIELDS, rows=constructed.rows, draw=constructed.draw),
}
