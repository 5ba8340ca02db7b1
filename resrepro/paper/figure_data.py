"""Read the points of the paper's figures, stored as CSV beside this file; README.md there has their source."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from resrepro.errors import UserError

Kind = Literal["train", "test"]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CURVES_CSV = Path(__file__).with_name("figure_curves.csv")
RESPONSES_CSV = Path(__file__).with_name("figure_responses.csv")
CURVE_COLUMNS = ("figure", "panel", "run", "kind", "iteration", "error_pct")
RESPONSE_COLUMNS = ("run", "layer", "std")
DATASETS = {"Fig. 4": "imagenet", "Fig. 6": "cifar10"}
MEND = "restore it from git, or write it anew with tools/read_paper_figures.py"


@dataclass(frozen=True, kw_only=True, eq=False)
class PublishedCurve:
    """Hold one curve of Fig. 4 or 6.

    Attributes:
        run: our name of the net, such as `plain20` or `resnet34-A`.
        figure: where the paper shows it, such as "Fig. 6 left".
        iterations: (N,), strictly increasing.
        error_pct: (N,), in %. In Fig. 4 `test` is the center crop of the validation set.
    """

    dataset: str
    run: str
    kind: Kind
    figure: str
    iterations: Ints
    error_pct: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class PublishedResponses:
    """Hold one curve of Fig. 7 top: standard deviations of layer responses, after BN and before addition and ReLU.

    Attributes:
        layers: (N,), 1 to N: each 3x3 layer, the first included.
        std: (N,).
    """

    run: str
    layers: Ints
    std: Floats


def read_curves(path: Path) -> list[PublishedCurve]:
    """Read the curves of Figs. 4 and 6 as they are stored, left-out points not put back.

    Raises:
        UserError: not there, damaged, or with other columns.
    """
    rows = []
    for place, (figure, panel, run, kind, iteration, error) in _rows(path, CURVE_COLUMNS):
        if figure not in DATASETS or kind not in get_args(Kind):
            raise _damaged(place, "a figure of 4 and 6, and train or test", f"{figure!r} and {kind!r}")
        point = _number(place, "iteration", iteration, 1_000_000), _number(place, "error_pct", error, 100)
        if not point[0].is_integer():
            raise _damaged(place, "a whole number as iteration", repr(iteration))
        rows.append((place, (figure, panel, run, kind), point))
    curves = []
    for (figure, panel, run, kind), group in groupby(rows, key=lambda row: row[1]):
        points = list(group)
        for (_, _, before), (place, _, point) in pairwise(points):
            if point[0] <= before[0]:
                raise _damaged(place, f"an iteration above {before[0]:g}", f"{point[0]:g}")
        curves.append(
            PublishedCurve(
                dataset=DATASETS[figure],
                run=run,
                kind="train" if kind == "train" else "test",
                figure=f"{figure} {panel}",
                iterations=np.array([point[0] for _, _, point in points], dtype=np.int64),
                error_pct=np.array([point[1] for _, _, point in points]),
            )
        )
    return curves


def read_responses(path: Path) -> list[PublishedResponses]:
    """Read the layer responses of Fig. 7 top.

    Raises:
        UserError: not there, damaged, or with other columns.
    """
    rows = [
        (place, run, _number(place, "layer", layer, 1_000), _number(place, "std", std, 100))
        for place, (run, layer, std) in _rows(path, RESPONSE_COLUMNS)
    ]
    found = []
    for run, group in groupby(rows, key=lambda row: row[1]):
        points = list(group)
        for number, (place, _, layer, _) in enumerate(points, start=1):
            if layer != number:
                raise _damaged(place, f"layer {number} of {run}", f"{layer:g}")
        std = np.array([point[3] for point in points])
        layers = np.arange(1, len(points) + 1, dtype=np.int64)
        found.append(PublishedResponses(run=run, layers=layers, std=std))
    return found


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each row with its place, `file:line`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {MEND}") from error
    lines = list(csv.reader(text.splitlines()))
    if not lines or tuple(lines[0]) != tuple(columns):
        raise _damaged(f"{path}:1", f"the columns {','.join(columns)}", repr(",".join(lines[0]) if lines else ""))
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(columns):
            raise _damaged(f"{path}:{number}", f"{len(columns)} values", str(len(line)))
        yield f"{path}:{number}", line
    if len(lines) == 1 or not text.endswith("\n"):
        raise _damaged(f"{path}:{len(lines)}", "a whole row and a line's end", "the end of the file")


def _number(place: str, column: str, text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise _damaged(place, f"a number of 0 to {most:g} as {column}", repr(text))
    return value


def _damaged(place: str, expected: str, found: str) -> UserError:
    return UserError(f"{place}: expected {expected}, got {found}; {MEND}")
