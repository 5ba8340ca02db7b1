"""Read what a run's analyses wrote, and check that no rows are missing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from resrepro.config.architectures import architecture
from resrepro.errors import UserError
from resrepro.results.csv_rows import mend, read_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import LayerNorms, Prediction, Response


def read_responses(files: RunFiles, arch: str) -> list[Response]:
    """Read a row a 3x3 layer; nothing where there is no file.

    Raises:
        UserError: the file is damaged, or lacks layers.
    """
    found = read_rows(files.responses, Response)
    # what follows the last 3x3 layer: a 1x1 at most, and fc
    if found and found[-1].layer < architecture(arch).depth - 2:
        raise UserError(f"{files.responses}: cut short after layer {found[-1].layer}; {mend(files.responses)}")
    return found


def read_norms(files: RunFiles, arch: str) -> list[LayerNorms]:
    """Read one row per layer and moment; nothing where there is no file.

    Raises:
        UserError: the file is damaged, or lacks layers.
    """
    found, depth = read_rows(files.gradients, LayerNorms), architecture(arch).depth
    if depth and len(found) % depth:  # a net of other code has no depth that is known
        raise UserError(
            f"{files.gradients}: cut short: {len(found)} rows, expected {depth} a moment; {mend(files.gradients)}"
        )
    return found


def by_moment(norms: Iterable[LayerNorms]) -> list[list[LayerNorms]]:
    """Return the rows of each moment, in the order of the layers."""
    return [list(rows) for _, rows in groupby(norms, key=lambda row: row.iteration)]


def read_predictions(files: RunFiles) -> list[Prediction]:
    """Read one row per test image, in the dataset's order; nothing where there is no file.

    Raises:
        UserError: the file is damaged, or has not a row for each image in order.
    """
    found = read_rows(files.predictions, Prediction)
    if files.predictions.exists() and ([p.image for p in found] != list(range(len(found))) or not found):
        raise UserError(f"{files.predictions}: not a row for each image in order; {mend(files.predictions)}")
    return found
