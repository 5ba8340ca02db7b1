"""Name the colors of curves, in figures and in the terminal."""

from __future__ import annotations

# Okabe and Ito's palette, which the color-blind can tell apart; its yellow is too pale for a line on white.
ORANGE = "#E69F00"
GREEN = "#009E73"
SKY_BLUE = "#56B4E9"
VERMILION = "#D55E00"
BLUE = "#0072B2"
PURPLE = "#CC79A7"
COLORS = (ORANGE, GREEN, SKY_BLUE, VERMILION, BLUE, PURPLE)  # seen on a light and on a dark ground
