"""Finds frames, axes, legends and curves in the paper's PDF (arXiv 1512.03385v1), whose figures are vector graphics.

Axes come from the ticks and their labels, nets from each panel's legend, training and test from the lines' widths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resrepro.errors import UserError

ARXIV_ID = "arXiv:1512.03385v1"
MIN_POINTS = 15  # of a curve: legend lines and ticks have two


def open_pdf(path: Path) -> Any:
    """Opens the paper's PDF.

    Raises:
        UserError: no PyMuPDF, not a PDF, or not this version of the paper.
    """
    try:
        import pymupdf
    except ImportError as error:
        raise UserError("needs PyMuPDF; install it with: pip install 'resrepro[paper]'") from error
    pymupdf.TOOLS.mupdf_display_errors(False)
    try:
        document = pymupdf.open(path, filetype="pdf")
        first_page = document[0].get_text()
    except (RuntimeError, ValueError, IndexError) as error:  # no such file, no PDF, encrypted
        raise UserError(f"{path}: not a PDF that can be read ({error})") from error
    if not document.is_pdf:
        raise UserError(f"{path}: not a PDF; expected https://arxiv.org/pdf/1512.03385v1")
    if ARXIV_ID not in first_page:
        raise UserError(f"{path}: page 1 lacks the stamp {ARXIV_ID!r}; expected https://arxiv.org/pdf/1512.03385v1")
    return document


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a figure is, and what its points are: `step` is from one to the next on the x axis."""

    page: int  # from 0
    panels: tuple[str, ...]  # in reading order
    step: int


LAYOUTS = {
    1: Layout(page=0, panels=("left", "right"), step=1_000),
    4: Layout(page=4, panels=("left", "right"), step=5_000),
    6: Layout(page=7, panels=("left", "middle", "right"), step=1_000),
    7: Layout(page=7, panels=("top", "bottom"), step=1),
}


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """An open polyline: (N, 2) points on the page, downwards."""

    points: np.ndarray
    color: tuple[float, ...]
    width: float
    dashed: bool

    @property
    def looks(self) -> tuple[tuple[float, ...], bool]:
        return self.color, self.dashed


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A linear axis through its outermost labeled ticks."""

    ticks: list[tuple[float, float]]  # place on the page in points, value

    def values(self, places: np.ndarray) -> np.ndarray:
        (a, first), (b, last) = self.ticks[0], self.ticks[-1]
        return first + (places - a) * (last - first) / (b - a)

    def places(self, values: np.ndarray) -> np.ndarray:
        (a, first), (b, last) = self.ticks[0], self.ticks[-1]
        return a + (values - first) * (b - a) / (last - first)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The frame of one plot, and the device's unit in points: the drawing's coordinates are whole multiples of it."""

    name: str  # Fig. 6 left
    rect: Any
    unit: float
    x: Axis
    y: Axis


Curves = dict[tuple[str, str], dict[int, float]]  # (run, kind) -> {iteration or layer: value}


def read_panels(document: Any, number: int) -> list[tuple[Panel, Curves]]:
    """Reads all panels of a figure, each with its curves.

    Raises:
        UserError: no such page, caption or panel, or a panel that cannot be read.
    """
    layout = LAYOUTS[number]
    if layout.page >= len(document):
        raise UserError(f"{document.name}: has {len(document)} pages; expected Fig. {number} on page {layout.page + 1}")
    page = document[layout.page]
    frames = find_frames(page, number)
    if len(frames) != len(layout.panels):
        place = f"{document.name}: page {layout.page + 1}: Fig. {number}"
        raise UserError(f"{place}: found {len(frames)} panels, expected {len(layout.panels)}: another version?")
    found = []
    for name, (rect, unit) in zip(layout.panels, frames, strict=True):
        try:
            panel = find_axes(page, rect, unit, f"Fig. {number} {name}")
            named = name_curves(page, panel) if number > 1 else name_fig1_curves(page, panel)
            curves = {key: points(stroke, panel, layout.step) for key, stroke in named.items()}
        except UserError as error:
            raise UserError(f"{document.name}: page {layout.page + 1}: Fig. {number} {name}: {error}") from error
        found.append((panel, curves))
    return found


def strokes(page: Any) -> list[Stroke]:
    found = []
    for drawing in page.get_drawings():
        lines = drawing["items"]
        if drawing["type"] == "s" and all(item[0] == "l" for item in lines):
            ends = np.array([tuple(lines[0][1])] + [tuple(item[2]) for item in lines])
            dashed = drawing["dashes"].strip() not in ("", "[] 0")
            color = tuple(round(part, 2) for part in drawing["color"])
            found.append(Stroke(points=ends, color=color, width=drawing["width"], dashed=dashed))
    return found


def find_frames(page: Any, number: int) -> list[tuple[Any, float]]:
    """Finds the frames that belong to a figure's caption, in reading order, each with its line's width.

    A frame is a white rectangle with a long curve in it (a legend's box has none); its caption is the next below it.
    """
    lines = [line for block in page.get_text("dict")["blocks"] for line in block.get("lines", [])]
    texts = [("".join(span["text"] for span in line["spans"]), line["bbox"]) for line in lines]
    captions = {int(m[1]): box for text, box in texts if (m := re.match(r"Figure (\d+)\. ", text))}
    if number not in captions:
        raise UserError(f"{page.parent.name}: page {page.number + 1}: no caption 'Figure {number}.': another version?")
    curves = [stroke for stroke in strokes(page) if len(stroke.points) >= MIN_POINTS]
    frames = []
    for drawing in page.get_drawings():
        rect, unit = drawing["rect"], drawing["width"]
        if drawing["type"] != "s" or drawing["items"][0][0] not in ("re", "qu"):
            continue
        below = [(box[1], figure) for figure, box in captions.items() if box[1] > rect.y1 and box[0] < rect.x1]
        if below and min(below)[1] == number and any(_inside(curve, rect, unit) for curve in curves):
            frames.append((rect, unit))
    return sorted(frames, key=lambda frame: (round(frame[0].y0 / 5), frame[0].x0))


def find_axes(page: Any, rect: Any, unit: float, name: str) -> Panel:
    """Finds the short lines on the frame's left and lower edge, and the number nearest to each."""
    words = page.get_text("words")
    numbers = [(word, float(word[4])) for word in words if re.fullmatch(r"\d+(\.\d+)?", word[4])]
    x_labels = [((w[0] + w[2]) / 2, v) for w, v in numbers if 0 <= w[1] - rect.y1 <= w[3] - w[1]]
    y_labels = [((w[1] + w[3]) / 2, v) for w, v in numbers if 0 <= rect.x0 - w[2] <= w[3] - w[1]]
    powers = [
        float(m[1])
        for w in words
        if (m := re.fullmatch(r"\((1e\d)\)", w[4])) and 0 < w[1] - rect.y1 < 20 and rect.x0 < w[0] < rect.x1
    ]
    x_ticks, y_ticks = set(), set()
    longest = 0.06 * min(rect.width, rect.height)
    for stroke in strokes(page):
        if len(stroke.points) != 2 or not 0 < np.abs(np.diff(stroke.points, axis=0)).sum() < longest:
            continue
        (x0, y0), (x1, y1) = stroke.points.tolist()
        if x0 == x1 and abs(max(y0, y1) - rect.y1) < unit and rect.x0 - unit < x0 < rect.x1 + unit:
            x_ticks.add(x0)
        if y0 == y1 and abs(min(x0, x1) - rect.x0) < unit and rect.y0 - unit < y0 < rect.y1 + unit:
            y_ticks.add(y0)
    x = _axis("x", x_ticks, x_labels, powers[0] if powers else 1.0, unit)
    y = _axis("y", y_ticks, y_labels, 1.0, unit)
    return Panel(name=name, rect=rect, unit=unit, x=x, y=y)


def name_curves(page: Any, panel: Panel) -> dict[tuple[str, str], Stroke]:
    """Names each curve after the legend's line of its color; where two have it, the bolder is the test error."""
    words = page.get_text("words")
    inside = [stroke for stroke in strokes(page) if _inside(stroke, panel.rect, panel.unit)]
    curves = [stroke for stroke in inside if len(stroke.points) >= MIN_POINTS]
    found: dict[tuple[str, str], Stroke] = {}
    for sample in (s for s in inside if len(s.points) == 2 and s.width > 2 * panel.unit):
        end, height = sample.points[1]
        beside = [w for w in words if 0 < w[0] - end < 5 and w[1] < height < w[3]]
        match = beside and re.fullmatch(r"(plain|ResNet|residual)-(\d+)", beside[0][4])
        if not match:
            raise UserError(f"no net's name beside the legend's line at {end:.1f}, {height:.1f}")
        run = f"{'plain' if match[1] == 'plain' else 'resnet'}{match[2]}"
        if panel.name.startswith("Fig. 4") and match[1] == "ResNet":
            run += "-A"  # "the residual networks have no extra parameter": option A (Table 2)
        if panel.name.startswith("Fig. 7"):
            lines = [("std", curve) for curve in curves if curve.looks == sample.looks]
        else:
            of_color = [curve for curve in curves if curve.color == sample.color]
            lines = [("test" if abs(c.width - sample.width) < panel.unit / 2 else "train", c) for c in of_color]
        found |= {(run, kind): curve for kind, curve in lines}
    if len(found) != len(curves) or not found:
        raise UserError(f"the legend names {len(found)} of {len(curves)} curves")
    return found


def name_fig1_curves(page: Any, panel: Panel) -> dict[tuple[str, str], Stroke]:
    """Names the curves by the texts "56-layer" and "20-layer" in the plot: the upper text is the upper curve's."""
    rect = panel.rect
    texts = [
        (w[1], m[1]) for w in page.get_text("words") if (m := re.fullmatch(r"(\d+)-layer", w[4])) and w[:2] in rect
    ]
    curves = [s for s in strokes(page) if len(s.points) >= MIN_POINTS and _inside(s, rect, panel.unit)]
    if len(texts) != len(curves):
        raise UserError(f"{len(texts)} names in the plot of {len(curves)} curves")
    curves.sort(key=lambda curve: curve.points[-1, 1])
    kind = "train" if panel.name.endswith("left") else "test"
    return {(f"plain{depth}", kind): curve for (_, depth), curve in zip(sorted(texts), curves, strict=True)}


def points(stroke: Stroke, panel: Panel, step: int) -> dict[int, float]:
    """Turns a polyline into values at multiples of `step`.

    Where the frame cuts the line its ends are no points: a first one on the upper edge, and a last one right of the
    frame. If the line is straight up to that cut, the last point before it is not drawn: it is put back.
    """
    x, y = panel.x.values(stroke.points[:, 0]) / step, panel.y.values(stroke.points[:, 1])
    cut_above = stroke.points[0, 1] < panel.rect.y0 + panel.unit / 2
    cut_right = stroke.points[-1, 0] > panel.rect.x1 + panel.unit / 2
    inner = slice(int(cut_above), len(x) - int(cut_right))
    steps = np.round(x[inner])
    off = np.abs(x[inner] - steps).max()
    if off > 0.2:
        raise UserError(f"a point is {off:.2f} of a step from the nearest multiple of {step} on the x axis")
    found = {int(s) * step: float(value) for s, value in zip(steps, y[inner], strict=True)}  # of two, the later
    if cut_right:
        last = int(x[-1])
        found.setdefault(last * step, float(np.interp(last, x, y)))
    return found


def _axis(name: str, places: set[float], labels: list[tuple[float, float]], power: float, unit: float) -> Axis:
    ticks = []
    for place in sorted(places):
        near = min(labels, key=lambda label: abs(label[0] - place), default=(np.inf, 0.0))
        if abs(near[0] - place) > 2.5:
            raise UserError(f"no label at the {name} axis' tick at {place:.1f} pt")
        ticks.append((place, near[1] * power))
    if len({value for _, value in ticks}) < 2:
        raise UserError(f"no two labeled ticks on the {name} axis")
    axis = Axis(ticks=ticks)
    for place, value in ticks:
        if abs(float(axis.places(np.array(value))) - place) > 1.5 * unit:
            raise UserError(f"the {name} axis is not linear: tick {value:g} at {place:.2f} pt")
    return axis


def _inside(stroke: Stroke, rect: Any, unit: float) -> bool:
    (x0, y0), (x1, y1) = stroke.points.min(axis=0), stroke.points.max(axis=0)
    slack = 4 * unit
    return bool(x0 > rect.x0 - slack and y0 > rect.y0 - slack and x1 < rect.x1 + slack and y1 < rect.y1 + slack)
