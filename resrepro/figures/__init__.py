"""Figures, drawn from CSV and JSON alone. Imports no torch."""

from __future__ import annotations

from resrepro.figures import curves, effects

FIGURES = {
    "curves": curves.draw,
    "effects": effects.draw,
}
TABLES = {  # written beside a figure of this kind
    "effects": effects.table,
}
