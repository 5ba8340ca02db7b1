"""The files below the results directory: their names, their columns, reading and writing them. Imports no torch.

docs/results-format.md describes each file for its readers.
"""

from __future__ import annotations

from resrepro.results.digests import check_files, damaged_files
from resrepro.results.evaluations import read_evaluations, record_evaluation
from resrepro.results.lock import hold
from resrepro.results.paths import (
    RunFiles,
    bench_file,
    bench_files,
    ensembles_file,
    figure_file,
    figures_folder,
    run_files,
    stored_runs,
)
from resrepro.results.run_store import (
    ensembles,
    lacks_rows,
    read_asked,
    read_complete,
    read_finished,
    read_finished_seeds,
    read_points,
    read_record,
    read_whole,
    weights_metadata,
    with_stored_seeds,
    write_asked,
    write_measured,
    write_record,
)
from resrepro.results.unfinished_rows import unfinished_rows

__all__ = [
    "RunFiles",
    "bench_file",
    "bench_files",
    "check_files",
    "damaged_files",
    "ensembles",
    "ensembles_file",
    "figure_file",
    "figures_folder",
    "hold",
    "lacks_rows",
    "read_asked",
    "read_complete",
    "read_evaluations",
    "read_finished",
    "read_finished_seeds",
    "read_points",
    "read_record",
    "read_whole",
    "record_evaluation",
    "run_files",
    "stored_runs",
    "unfinished_rows",
    "weights_metadata",
    "with_stored_seeds",
    "write_asked",
    "write_measured",
    "write_record",
]
