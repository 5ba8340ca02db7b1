"""The prepared store."""

from __future__ import annotations

from pathlib import Path

from resrepro.data.listing import ImageTree


def load(dataset: str, *, data_dir: Path) -> ImageTree | None:
    """The data set's store; None where there is none."""
    return None
