"""The SHA-256 of a run's files, as its record has them, and what differs from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from resrepro.config.strict import StrictModel
from resrepro.errors import UserError
from resrepro.results import csv_rows
from resrepro.results.laboratory import Lesion, PathGradient, SurfacePoint
from resrepro.results.paths import RunFiles
from resrepro.results.records import ConstructedComparison, CurvePoint, LayerNorms, Prediction, Response, RunRecord

RECORD = "run.json"  # the key of a record's own digest
CSV_ROWS: dict[str, type[StrictModel]] = {
    "curves.csv": CurvePoint,
    "gradients.csv": LayerNorms,
    "responses.csv": Response,
    "identity.csv": ConstructedComparison,
    "predictions.csv": Prediction,
    "lesions.csv": Lesion,
    "paths.csv": PathGradient,
    "surface.csv": SurfacePoint,
}


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_sha256(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record's own values, as JSON with sorted keys, without this digest itself."""
    digests = {name: digest for name, digest in values["sha256"].items() if name != RECORD}
    return values_sha256({**values, "sha256": digests})


def values_sha256(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of values as JSON with sorted keys and without spaces."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def damaged_files(paths: Collection[Path], record: RunRecord) -> list[str]:
    """Return a line for each of these files that is there, and not as it was when the record was written."""
    known = [(path, record.sha256[path.name]) for path in paths if path.name in record.sha256 and path.exists()]
    return [
        f"{path}: damaged, for its SHA-256 is not the one in run.json; {csv_rows.mend(path)}"
        for path, digest in known
        if sha256(path) != digest
    ]


def check_files(files: RunFiles, record: RunRecord, name: str | None = None) -> None:
    """Check the CSVs of a finished run; the weights are left to `resrepro verify`, for they take longer.

    Args:
        name: of the one CSV to check, which must be there if the record has its digest; None: all that are there.

    Raises:
        UserError: a CSV is missing, or not as it was when the record was written.
    """
    for path in (path for path in files.csvs if name in (None, path.name)):
        if name and name in record.sha256 and not path.exists():
            raise UserError(f"{path}: missing; {csv_rows.mend(path)}")
        for line in damaged_files([path], record):
            csv_rows.read_rows(path, CSV_ROWS[path.name], torn=path == files.curves)  # may say which line it is
            raise UserError(line)
