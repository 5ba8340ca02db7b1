from __future__ import annotations

from pathlib import Path

import pytest

from resrepro.results import csv_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    found = RunFiles(folder=tmp_path / "run")
    csv_rows.write_rows(found.curves, CurvePoint, [])
    return found
