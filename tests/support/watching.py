"""Runs in progress as the live view sees them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from rich.console import Console

from resrepro import results
from resrepro.cli.watch import frame
from resrepro.config.run import Run
from resrepro.results import csv_rows
from resrepro.results.records import CurvePoint
from resrepro.results.status import RunStatus, StoredRuns
from support.recipes import tiny_run


def begin(results_dir: Path, run: Run, *points: CurvePoint, written_s_ago: float = 0.0) -> results.RunFiles:
    files = results.run_files(results_dir, run)
    csv_rows.write_rows(files.curves, CurvePoint, list(points))
    os.utime(files.curves, (time.time() - written_s_ago,) * 2)
    return files


def named(name: str, dataset: str = "shapes") -> Run:
    return tiny_run().model_copy(update={"name": name, "dataset": dataset})


def look(results_dir: Path, *words: str) -> dict[str, RunStatus]:
    runs, skipped = StoredRuns(results_dir, list(words)).look(time.time())
    assert not skipped
    return {run.name: run for run in runs}


def shown(results_dir: Path, width: int = 100, height: int | None = None) -> list[str]:
    console = Console(width=width, height=height or 25, color_system=None)
    with console.capture() as captured:
        console.print(frame(StoredRuns(results_dir, []), width, height))
    return captured.get().split("\n")[:-1]
