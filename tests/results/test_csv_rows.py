"""Rows come back to the digit; torn and damaged ones are noticed."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from resrepro import results
from resrepro.errors import UserError
from resrepro.results import csv_rows
from resrepro.results.csv_rows import read_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint, Response
from support.records import point


def test_rows_come_back_to_the_digit(files: RunFiles) -> None:
    for i in (5, 10):
        csv_rows.append_row(files.curves, point(i))
    assert results.read_points(files) == [point(5), point(10)]
    assert files.curves.read_text().splitlines()[0] == (
        "iteration,lr,train_loss,train_error_pct,test_loss,test_error_pct,elapsed_s,test_error_bn_averaged_pct"
    )


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_last_line_is_left_out(files: RunFiles, cut: int) -> None:
    for i in (5, 10):
        csv_rows.append_row(files.curves, point(i))
    os.truncate(files.curves, files.curves.stat().st_size - cut)
    assert results.read_points(files) == [point(5)]


def test_a_row_for_which_there_is_no_space_leaves_the_file_as_it_was(files: RunFiles) -> None:
    """The system writes half of the row and then fails; truncated, there is space again for half a row."""
    csv_rows.append_row(files.curves, point(5))
    before, soft, hard = files.curves.read_bytes(), *resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
    try:
        with pytest.raises(UserError, match=r"curves\.csv: cannot be written"):
            csv_rows.append_row(files.curves, point(10))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files.curves.read_bytes() == before


def test_a_damaged_line_is_named(files: RunFiles) -> None:
    files.curves.write_text(files.curves.read_text() + "5,0.1,x\n10,0.1,1,1,1,1,1\n")
    with pytest.raises(UserError, match=r"curves.csv:2: expected iteration,lr,.*; got '5,0.1,x'"):
        results.read_points(files)


def test_a_layer_with_a_comma_in_its_name_comes_back(files: RunFiles) -> None:
    row = Response(layer=1, name='stage,1."conv"', std=1.5, num_images=3)
    csv_rows.write_rows(files.responses, Response, [row])
    assert read_rows(files.responses, Response) == [row]


def test_a_folder_in_the_place_of_a_file_is_named(files: RunFiles) -> None:
    files.responses.mkdir()
    with pytest.raises(UserError, match=r"responses\.csv: a folder; expected a file; restore it"):
        read_rows(files.responses, Response)


def test_rows_of_an_analysis_come_back_to_the_digit(tmp_path: Path) -> None:
    found = [Response(layer=1, name="conv1", std=1 / 3, num_images=7)]
    csv_rows.write_rows(tmp_path / "r.csv", Response, found)
    assert read_rows(tmp_path / "r.csv", Response) == found and read_rows(tmp_path / "none.csv", Response) == []


def test_older_files_lack_the_last_columns(tmp_path: Path) -> None:
    """Columns with a default came later; a file without them reads, one without a required column does not."""
    path = tmp_path / "curves.csv"
    columns = list(CurvePoint.model_fields)
    required = [name for name, field in CurvePoint.model_fields.items() if field.is_required()]
    assert columns[: len(required)] == required and columns[-1] == "test_error_bn_averaged_pct"
    path.write_text(",".join(required) + "\n1,0.1,2.0,80.0,2.1,81.0,3.5\n")
    assert read_rows(path, CurvePoint)[0].test_error_bn_averaged_pct is None
    path.write_text(",".join(columns) + "\n1,0.1,2.0,80.0,2.1,81.0,3.5,79.5\n2,0.1,2.0,80.0,2.1,81.0,3.5,\n")
    assert [p.test_error_bn_averaged_pct for p in read_rows(path, CurvePoint)] == [79.5, None]
    path.write_text(",".join(required[:-1]) + "\n1,0.1,2.0,80.0,2.1,81.0\n")
    with pytest.raises(UserError, match=r"curves.csv:1: expected the columns"):
        read_rows(path, CurvePoint)
