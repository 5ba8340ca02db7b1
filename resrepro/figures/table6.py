"""Table 6: CIFAR-10 test error, the paper's rows beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from resrepro.paper import TABLE_6, Table6Row

COLUMNS = (
    "method",
    "layers",
    "parameters",
    "paper error (%)",
    "ours (%)",
    "difference",
    "seeds",
    "ours, best (%)",
)


def table(final_errors: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Table 6 as text.

    Args:
        final_errors: architecture -> last iteration's test error of each finished seed, %.

    Returns:
        The paper's rows in its order, COLUMNS as text. Ours is the mean (+- standard deviation) over seeds; the
        difference is to the paper's mean where it gives one, else to its only value.
    """
    rows = [_row(row, list(final_errors.get(row.arch or "", ()))) for row in TABLE_6]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(row: Table6Row, ours: list[float]) -> list[str]:
    paper = f"{row.error_pct:.2f}"
    if row.mean_pct is not None:
        paper += f" ({row.mean_pct:.2f}±{row.std_pct:.2f})"
    fixed = [row.method, str(row.num_layers or ""), row.parameters or "", paper]
    if row.arch is None:
        return [*fixed, "", "", "", ""]
    if not ours:
        return [*fixed, "not run", "", "0", ""]
    errors = pd.Series(ours)
    mean = float(errors.mean())
    spread = f"±{errors.std():.2f}" if len(ours) > 1 else ""
    reference = row.mean_pct if row.mean_pct is not None else row.error_pct
    return [*fixed, f"{mean:.2f}{spread}", f"{mean - reference:+.2f}", str(len(ours)), f"{errors.min():.2f}"]


def to_markdown(table: pd.DataFrame) -> str:
    """A GitHub table."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
