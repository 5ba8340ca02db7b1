"""Show what `resrepro bench` measured on each device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from resrepro import results
from resrepro.results.tables import Table

COLUMNS = ("device", "net", "loop", "runs at once", "precision", "images/s", "times the standard loop", "measured")


def speed_table(results_dir: Path, problems: list[str]) -> Table:
    """Return one row per measurement; `problems` gets a line about each file that cannot be read."""
    rows: list[tuple[str, ...]] = []
    for path in results.bench_files(results_dir):
        try:
            bench = json.loads(path.read_text(encoding="utf-8"))
            rows += [_row(bench["device"], row) for row in bench["rows"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            problems.append(
                f"{path}: not what 'resrepro bench' writes ({type(error).__name__}: {error}); measure again"
            )
    notes = ("standard: the usual PyTorch loop, measured in turns with ours",)
    return Table(
        title="Training speed", columns=COLUMNS, rows=tuple(rows),
        notes=notes if rows else ("not measured: `resrepro bench`",),
    )  # fmt: skip


def _row(device: str, row: dict[str, Any]) -> tuple[str, ...]:
    return (
        device, row["architecture"], row["loop"], str(row["runs_at_once"]), row["precision"],
        f"{row['images_per_s']:.0f}", f"{row['times_standard']:.2f}", row["measured_at"][:10],
    )  # fmt: skip
