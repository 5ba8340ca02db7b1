"""The files below the results directory: their names, their columns, reading and writing them. Imports no torch."""

from __future__ import annotations

from resrepro.results.paths import (
    RunFiles,
    bench_file,
    bench_files,
    ensembles_file,
    figure_file,
    found,
    run_files,
    table_file,
)
from resrepro.results.run_store import (
    ensembles,
    finished,
    finished_seeds,
    hold,
    lacks_analyses,
    lacks_rows,
    read_asked,
    read_evaluations,
    read_points,
    read_record,
    record_evaluation,
    with_found_seeds,
    write_asked,
    write_record,
)

__all__ = [
    "RunFiles",
    "bench_file",
    "bench_files",
    "ensembles",
    "ensembles_file",
    "figure_file",
    "finished",
    "finished_seeds",
    "found",
    "hold",
    "lacks_analyses",
    "lacks_rows",
    "read_asked",
    "read_evaluations",
    "read_points",
    "read_record",
    "record_evaluation",
    "run_files",
    "table_file",
    "with_found_seeds",
    "write_asked",
    "write_record",
]
