from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from resrepro import results
from resrepro.errors import UserError
from resrepro.files import write_atomically, write_text
from resrepro.results import csv_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint
from support.recipes import tiny_run
from support.records import point, record


def test_a_full_disk_leaves_old_file_and_rows_valid(files: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    csv_rows.append_row(files.curves, point(5))
    write_text(files.record, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="free some disk space"):
        csv_rows.append_row(files.curves, point(10))
    with pytest.raises(UserError, match="free some disk space"):
        write_text(files.record, "new")
    assert results.read_points(files) == [point(5)]
    assert files.record.read_text() == "old"
    assert sorted(p.name for p in files.folder.iterdir()) == ["curves.csv", "run.json"]


def test_a_crash_while_writing_leaves_the_old_file(files: RunFiles) -> None:
    write_text(files.record, "old")

    def crash(file: object) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(files.record, crash)
    assert files.record.read_text() == "old"


def test_a_record_comes_back(files: RunFiles) -> None:
    written = results.write_record(files, record())
    assert results.read_record(files) == written == record(sha256=written.sha256)


def test_what_is_trained_is_said_until_the_record_says_it(files: RunFiles) -> None:
    assert results.read_asked(files) is None
    run = tiny_run(warmup={"lr": 0.01, "until_train_error_pct": 80.0})
    results.write_asked(files, run)
    assert results.read_asked(files) == run
    results.write_record(files, record())
    assert results.read_asked(files) is None


def test_a_finished_run_whose_csv_is_cut_short_is_noticed(tmp_path: Path) -> None:
    files = results.run_files(tmp_path, tiny_run())
    csv_rows.write_rows(files.curves, CurvePoint, [point(5), point(12)])
    assert not results.lacks_rows(files, record())
    csv_rows.write_rows(files.curves, CurvePoint, [point(5)])
    with pytest.raises(UserError, match="ends at iteration 5 of 12, and there is no checkpoint"):
        results.lacks_rows(files, record())
    files.checkpoint.touch()
    assert results.lacks_rows(files, record())


@pytest.mark.parametrize(
    ("text", "hint"), [("{", "not a valid record"), ("{}", "status: Field required"), ('{"status": 1}', "status")]
)
def test_a_damaged_record_is_named(files: RunFiles, text: str, hint: str) -> None:
    files.record.write_text(text)
    with pytest.raises(UserError, match=hint) as caught:
        results.read_record(files)
    assert str(files.record) in str(caught.value)


def test_a_recorded_run_that_is_not_the_one_asked_for_names_the_field(tmp_path: Path) -> None:
    run = tiny_run()
    results.write_record(results.run_files(tmp_path, run), record())
    assert results.read_finished(tmp_path, run) == record()
    other = run.model_copy(update={"recipe": run.recipe.model_copy(update={"lr": 0.2})})
    with pytest.raises(UserError, match=r"recipe.lr is 0.05 there, but the experiment asks for 0.2"):
        results.read_finished(tmp_path, other)
    with pytest.raises(UserError, match="arch is 'resnet8' there"):
        results.read_finished(tmp_path, run.model_copy(update={"arch": "plain8"}))


def test_further_seeds_are_found(tmp_path: Path) -> None:
    for seed in (0, 7):
        (tmp_path / tiny_run(seed=seed).path).mkdir(parents=True)
    found = results.with_stored_seeds(tmp_path, [tiny_run(seed=0), tiny_run(seed=1)])
    assert [r.seed for r in found] == [0, 1, 7]
