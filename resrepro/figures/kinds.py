"""List the kinds of figures: one kind a module."""

from __future__ import annotations

from resrepro.figures import (
    constructed,
    curves,
    distance,
    effects,
    gradients,
    lesions,
    phase,
    responses,
    signals,
    surface,
)
from resrepro.figures.data import FigureKind
from resrepro.results.laboratory import SurfacePoint
from resrepro.results.records import CurvePoint, LayerNorms, Response

FIGURES = {
    "curves": FigureKind(columns=(*CurvePoint.model_fields,), rows=curves.rows, draw=curves.draw),
    "effects": FigureKind(
        columns=(*CurvePoint.model_fields,), rows=curves.rows, draw=effects.draw, table=effects.table
    ),
    "distance": FigureKind(
        columns=(*CurvePoint.model_fields,),
        rows=curves.rows,
        draw=distance.draw,
        table=distance.table,
        compares_with_paper=True,
    ),
    "responses": FigureKind(
        columns=(*Response.model_fields,), rows=responses.rows, draw=responses.draw, csvs=("responses.csv",)
    ),
    "gradients": FigureKind(
        columns=(*LayerNorms.model_fields,), rows=gradients.rows, draw=gradients.draw, csvs=("gradients.csv",)
    ),
    "signals": FigureKind(
        columns=(*LayerNorms.model_fields,), rows=gradients.rows, draw=signals.draw, csvs=("gradients.csv",)
    ),
    "identity": FigureKind(
        columns=constructed.FIELDS, rows=constructed.rows, draw=constructed.draw, csvs=("identity.csv",)
    ),
    "lesions": FigureKind(
        columns=lesions.FIELDS,
        rows=lesions.rows,
        draw=lesions.draw,
        csvs=("lesions.csv", "paths.csv"),
        measured_by="lesions",
    ),
    "surface": FigureKind(
        columns=(*SurfacePoint.model_fields,),
        rows=surface.rows,
        draw=surface.draw,
        csvs=("surface.csv",),
        measured_by="surface --plane",
    ),
    "phase": FigureKind(columns=phase.FIELDS, rows=phase.rows, draw=phase.draw, table=phase.table),
}
