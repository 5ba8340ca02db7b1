"""Figures, drawn from CSV and JSON alone. Imports no torch."""

from __future__ import annotations

from resrepro.figures import curves

FIGURES = {
    "curves": curves.draw,
}
