from __future__ import annotations

import errno
import json
import os
import platform
import re
import threading
from pathlib import Path

import pytest

from resrepro import results
from resrepro.config.presets import PRESETS
from resrepro.config.recipe import Recipe
from resrepro.config.run import Run
from resrepro.errors import UserError
from resrepro.files import write_atomically, write_text
from resrepro.results import csv_rows, evaluations
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint, Errors, Evaluation
from support.recipes import tiny_run
from support.records import point, record

PHOTOGRAPHS = tiny_run().replace(recipe=Recipe.model_validate(PRESETS["imagenet"]))


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


@pytest.mark.parametrize("smaller", [tiny_run().resized(32), PHOTOGRAPHS.with_image_size(64), PHOTOGRAPHS])
def test_a_record_has_the_image_size_of_its_folders_name(smaller: Run, tmp_path: Path) -> None:
    files = results.run_files(tmp_path, smaller)
    results.write_record(files, record(smaller))
    found = results.read_record(files)
    assert found is not None and found.image_size == smaller.image_size
    assert results.same_run.recorded_run(found).path == smaller.path


def test_a_digit_that_changes_anywhere_in_a_record_is_seen(files: RunFiles) -> None:
    results.write_record(files, record())
    text = files.record.read_text()
    for at in (at for at, digit in enumerate(text) if digit.isdigit()):
        files.record.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
        with pytest.raises(UserError, match=r"run\.json: (damaged, for its SHA-256|not a valid record)"):
            results.read_record(files)
    values = json.loads(text)
    del values["sha256"]  # of an older version
    files.record.write_text(json.dumps(values))
    assert results.read_record(files) == record()


def test_rows_whose_iterations_do_not_increase_are_named(files: RunFiles) -> None:
    for iterations in ((5, 10, 10), (5, 10, 5)):
        csv_rows.write_rows(files.curves, CurvePoint, [point(i) for i in iterations])
        with pytest.raises(
            UserError, match=rf"curves\.csv:4: iteration {iterations[-1]} after 10, expected a later one"
        ):
            results.read_points(files)


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
    written = results.write_record(results.run_files(tmp_path, run), record())
    assert results.read_finished(tmp_path, run) == written
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


def test_what_a_killed_process_left_is_removed_at_the_next_write(files: RunFiles) -> None:
    """And no other file: not that of a living process, and not that of another machine."""
    here = platform.node()
    lefts = [files.record.with_name(f"run.json.{who}.tmp") for who in (f"{here}.99999999", f"{here}.x", "m.9")]
    other = files.record.with_name(f"run.json.{here}.{os.getppid()}.tmp")
    for path in (*lefts, other):
        path.write_text("half")
    write_text(files.record, "whole")
    assert [path.exists() for path in lefts] == [False, False, True] and other.exists()


EVALUATION = Evaluation(
    members=("a",), finished_at=("now",), protocol="single view", scales=(),
    moving=Errors(top1_pct=7.125, top5_pct=None, loss=1.0), reestimated=Errors(top1_pct=1.0, top5_pct=None, loss=1.0),
    device="d", precision="fp32", commit=None,
)  # fmt: skip


def test_another_digit_in_an_evaluation_is_seen(files: RunFiles) -> None:
    results.record_evaluation(files.evaluations, EVALUATION)
    text = files.evaluations.read_text()
    files.evaluations.write_text(text.replace("7.125", "7.126"))
    with pytest.raises(UserError, match=r"evaluations.json: damaged; delete it .*SHA-256"):
        results.read_evaluations(files.evaluations)
    older = re.sub(r',\s+"sha256": "\w{64}"', "", text)
    assert older != text
    files.evaluations.write_text(older)
    assert results.read_evaluations(files.evaluations) == [EVALUATION]


def test_two_processes_that_record_at_once_lose_no_evaluation(files: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = EVALUATION, EVALUATION.model_copy(update={"members": ("b",)})
    read, second = (
        evaluations.read_evaluations,
        threading.Thread(target=results.record_evaluation, args=(files.evaluations, other)),
    )

    def while_another_writes(path: Path) -> list[Evaluation]:
        found = read(path)
        monkeypatch.undo()
        second.start()
        second.join(0.2)
        return found

    monkeypatch.setattr(evaluations, "read_evaluations", while_another_writes)
    results.record_evaluation(files.evaluations, one)
    second.join()
    assert results.read_evaluations(files.evaluations) == [one, other]
