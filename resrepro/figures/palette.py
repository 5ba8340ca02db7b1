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


def letters_on(ground: tuple[float, float, float]) -> str:
    """Return black or white, whichever is read better on a color: its contrast is at least 4.5:1 (WCAG 2.1).

    Args:
        ground: red, green and blue of sRGB, from 0 to 1.
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in ground]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance + 0.05 > 0.05**0.5 * 1.05**0.5 else "white"
