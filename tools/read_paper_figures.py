"""Reads the curves of Figs. 4, 6 and 7 out of the paper's PDF (arXiv 1512.03385v1), where they are vector graphics.

    python tools/read_paper_figures.py 1512.03385v1.pdf [--overlay DIR] [--write]

The points are checked against Table 6, against the other drawing of the same run (Fig. 1, Fig. 6 right, Fig. 7
bottom), and against the CSVs in resrepro/paper/. Needs PyMuPDF: pip install 'resrepro[paper]'.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from paper_pdf import LAYOUTS, Curves, Panel, open_pdf, read_panels

from resrepro import paper
from resrepro.errors import UserError
from resrepro.paper import figure_data

TABLE_6_TOLERANCE_PCT = 0.15  # Table 6 has ResNet-110's best of five runs, Fig. 6 one of them
STORED_TOLERANCE = 0.03  # a device unit is 0.026 % in Fig. 6, 0.057 % in Fig. 4, 0.004 in Fig. 7
MARGINS = (-12, -4, 18, 12)  # around a panel in the overlay, in points


def largest_difference(ours: dict[Any, float], other: dict[Any, float]) -> tuple[float, int]:
    """Gives the largest difference at the points that both have, and how many these are."""
    shared = ours.keys() & other.keys()
    return max((abs(ours[key] - other[key]) for key in shared), default=float("nan")), len(shared)


def check_table6(found: dict[str, Curves]) -> None:
    """Prints each last test point beside Table 6.

    Raises:
        UserError: one is farther from it than TABLE_6_TOLERANCE_PCT.
    """
    published = {row.arch: row.error_pct for row in paper.TABLE_6}
    for name in ("Fig. 6 middle", "Fig. 6 right"):
        for (run, kind), curve in found[name].items():
            if kind == "test" and run in published:
                last = curve[max(curve)]
                print(f"{name}: {run}'s last test point {last:.2f} %, Table 6 {published[run]:.2f} %")
                if abs(last - published[run]) > TABLE_6_TOLERANCE_PCT:
                    raise UserError(f"{name}: {run} is over {TABLE_6_TOLERANCE_PCT} % from Table 6: misread")


def check_twins(found: dict[str, Curves]) -> None:
    """Prints how far two drawings of one run are apart: what a reading can be off by."""
    for one, other in (
        ("Fig. 1 left", "Fig. 6 left"),
        ("Fig. 1 right", "Fig. 6 left"),
        ("Fig. 6 right", "Fig. 6 middle"),
    ):
        for key in found[one].keys() & found[other].keys():
            apart, number = largest_difference(found[one][key], found[other][key])
            print(f"{one} and {other}: {' '.join(key)}: {number} points in both, at most {apart:.2f} % apart")
    for key, curve in found["Fig. 7 top"].items():
        ranked = sorted(responses(curve), reverse=True)
        apart = np.abs(np.array(ranked) - responses(found["Fig. 7 bottom"][key])).max()
        print(f"Fig. 7 top, sorted, and bottom: {key[0]}: {len(ranked)} layers, at most {apart:.3f} apart")


def responses(curve: dict[int, float]) -> list[float]:
    """Puts back the layers that lie on a straight line between their neighbors, which the drawing leaves out."""
    return [float(v) for v in np.interp(range(1, max(curve) + 1), sorted(curve), [curve[k] for k in sorted(curve)])]


def rows(found: dict[str, Curves]) -> tuple[list[list[str]], list[list[str]]]:
    """Gives the rows of both CSVs, as text."""
    curves = [
        [name[:6], name[7:], run, kind, str(iteration), f"{error:.2f}"]
        for name in found
        if name[:6] in figure_data.DATASETS
        for (run, kind), curve in found[name].items()
        for iteration, error in curve.items()
    ]
    layers = [
        [run, str(layer), f"{std:.3f}"]
        for (run, _), curve in found["Fig. 7 top"].items()
        for layer, std in enumerate(responses(curve), start=1)
    ]
    return curves, layers


def compare(path: Path, read: list[list[str]]) -> bool:
    """Prints how far the stored CSV is from what was read, and says whether both have the same points and values."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            stored = {tuple(row[:-1]): float(row[-1]) for row in list(csv.reader(file))[1:]}
    except (OSError, ValueError, IndexError) as error:
        print(f"{path.name}: nothing to compare with ({error})")
        return False
    new = {tuple(row[:-1]): float(row[-1]) for row in read}
    apart, number = largest_difference(new, stored)
    lacking = len(stored) - number, len(new) - number
    alone = f"only stored {lacking[0]}, only read {lacking[1]}"
    print(f"{path.name}: {number} points in both, at most {apart:.3f} apart; {alone}")
    return number > 0 and apart <= STORED_TOLERANCE and lacking == (0, 0)


def overlay(panels: list[tuple[Panel, Curves]], document: Any, number: int, folder: Path) -> None:
    """Draws the read points, put back onto the page through the axes, over its rendering: PNG files of 600 dpi."""
    page = document[LAYOUTS[number].page]
    for panel, curves in panels:
        ends = []
        for (run, kind), curve in curves.items():
            x, y = panel.x.places(np.array(list(curve))), panel.y.places(np.array(list(curve.values())))
            for center in zip(x.tolist(), y.tolist(), strict=True):
                page.draw_circle(center, 0.35, color=(0, 0, 1), fill=(1, 1, 1), width=0.1)
            ends.append((float(y[-1]), float(x[-1]), f"{run} {kind}"))
        low = -np.inf
        for y_end, x_end, text in sorted(ends):
            low = max(y_end + 0.6, low + 2.2)  # labels stay clear of each other
            page.insert_text((x_end + 1.5, low), text, fontsize=2.2, color=(0, 0, 1))
        for place, value in panel.x.ticks:
            page.draw_line((place, panel.rect.y1 - 1.5), (place, panel.rect.y1), color=(1, 0, 1), width=0.2)
            page.insert_text((place + 0.3, panel.rect.y1 - 0.5), f"{value:g}", fontsize=2, color=(1, 0, 1))
        for place, value in panel.y.ticks:
            page.draw_line((panel.rect.x0, place), (panel.rect.x0 + 1.5, place), color=(1, 0, 1), width=0.2)
            page.insert_text((panel.rect.x0 + 1.8, place - 0.3), f"{value:g}", fontsize=2, color=(1, 0, 1))
    for panel, _ in panels:
        file = folder / (re.sub(r"\W+", "-", panel.name.lower()) + ".png")
        page.get_pixmap(clip=panel.rect + MARGINS, dpi=600).save(file)
        print(f"drawn: {file}")


def read(arguments: argparse.Namespace) -> int:
    document = open_pdf(arguments.pdf)
    panels = {number: read_panels(document, number) for number in LAYOUTS}
    found = {panel.name: curves for figure in panels.values() for panel, curves in figure}
    check_table6(found)
    check_twins(found)
    same = True
    for path, columns, new in zip(
        (figure_data.CURVES_CSV, figure_data.RESPONSES_CSV),
        (figure_data.CURVE_COLUMNS, figure_data.RESPONSE_COLUMNS),
        rows(found),
        strict=True,
    ):
        same &= compare(path, new)
        if arguments.write:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([columns, *new])
            path.write_text(text.getvalue(), encoding="utf-8")
            print(f"written: {path}")
    if arguments.overlay:
        arguments.overlay.mkdir(parents=True, exist_ok=True)
        for number, figure in panels.items():
            overlay(figure, document, number, arguments.overlay)
    if not same and not arguments.write:
        raise UserError(f"what was read is not what is stored (allowed: {STORED_TOLERANCE}); --write stores it")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pdf", type=Path, metavar="PDF", help="the paper, arXiv 1512.03385v1")
    parser.add_argument("--overlay", type=Path, metavar="DIR", help="draw the points over each panel, as PNG")
    parser.add_argument("--write", action="store_true", help="write the CSVs of resrepro/paper/ anew")
    try:
        return read(parser.parse_args())
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
