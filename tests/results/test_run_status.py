"""How far a run is, as `list`, `show`, `run` and `watch` tell it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from resrepro import results
from resrepro.config.run import Run
from resrepro.results import csv_rows
from resrepro.results.records import CurvePoint, RunRecord
from resrepro.results.status import RunStatus, StoredRuns, run_status
from support.recipes import tiny_recipe, tiny_run

RUN = tiny_run()


def point(iteration: int) -> CurvePoint:
    return CurvePoint(
        iteration=iteration, lr=0.1, train_loss=1.0, train_error_pct=50.0, test_loss=1.0, test_error_pct=51.0,
        elapsed_s=1.5,
    )  # fmt: skip


def record(**changes: Any) -> RunRecord:
    values = {
        "status": "finished", "dataset": "shapes", "name": "resnet8", "arch": "resnet8", "seed": 0,
        "schedule_scale": 1.0, "recipe": json.loads(RUN.recipe.model_dump_json()), "num_parameters": 1,
        "num_multiply_adds": 2, "final_test_error_pct": 51.0, "wall_time_s": 1.0, "device": "d", "precision": "fp32",
        "num_threads": 1, "kernels": "torch", "versions": {}, "commit": None, "finished_at": "now",
    }  # fmt: skip
    return RunRecord(**{**values, **changes})


@pytest.fixture
def files(tmp_path: Path) -> results.RunFiles:
    return results.run_files(tmp_path, RUN)


def status(tmp_path: Path, run: Run = RUN) -> RunStatus:
    return run_status(tmp_path, run)


def test_it_goes_from_not_started_to_finished(tmp_path: Path, files: results.RunFiles) -> None:
    assert (status(tmp_path).state, str(status(tmp_path)), status(tmp_path).points) == (
        "not started",
        "not started",
        [],
    )
    results.write_asked(files, RUN)
    csv_rows.write_rows(files.curves, CurvePoint, [])
    assert str(status(tmp_path)) == "stopped"  # before its first curve point
    csv_rows.append_row(files.curves, point(5))
    with results.hold(files):
        now = status(tmp_path)
        assert (str(now), now.total_iters) == ("training at iteration 5", 12)
        assert now.eta_s == pytest.approx(7 * 1.5 / 5, abs=1)
    assert str(status(tmp_path)) == "stopped at iteration 5" and status(tmp_path).eta_s is None
    csv_rows.append_row(files.curves, point(12))
    stored = results.write_record(files, record())
    done = status(tmp_path)
    assert (str(done), done.record, done.iteration) == ("finished", stored, 12)


def test_it_is_not_started_where_the_results_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert status(tmp_path / "file").state == "not started"


def test_a_diverged_run_says_where(tmp_path: Path, files: results.RunFiles) -> None:
    csv_rows.write_rows(files.curves, CurvePoint, [point(5)])
    results.write_record(files, record(status="diverged", diverged_iter=7, final_test_error_pct=None))
    assert str(status(tmp_path)) == "diverged at iteration 7"


def test_a_checkpoint_that_is_replaced_at_that_moment_is_no_damage(
    tmp_path: Path, files: results.RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv_rows.write_rows(files.curves, CurvePoint, [point(5)])
    files.checkpoint.touch()
    stat = Path.stat

    def while_it_is_renamed(path: Path, **options: Any) -> Any:
        found = stat(path, **options)
        if path == files.checkpoint:
            path.rename(files.previous_checkpoint)
        return found

    monkeypatch.setattr(Path, "stat", while_it_is_renamed)
    for _ in range(2):  # it goes; it is gone
        assert str(status(tmp_path)) == "stopped at iteration 5"
    assert files.previous_checkpoint.exists()


@pytest.mark.parametrize("name", ["curves", "record"])
def test_a_damaged_file_is_named_with_its_fix(tmp_path: Path, files: results.RunFiles, name: str) -> None:
    csv_rows.write_rows(files.curves, CurvePoint, [point(5)])
    getattr(files, name).write_text("{\n")
    found = status(tmp_path)
    assert (found.state, found.record) == ("damaged", None) and str(getattr(files, name)) in found.problem
    assert StoredRuns(tmp_path, []).look(0.0) == ([], [found.problem])


def test_the_record_of_another_run_is_damage_where_a_run_is_asked_for(tmp_path: Path, files: results.RunFiles) -> None:
    csv_rows.write_rows(files.curves, CurvePoint, [point(12)])
    results.write_record(files, record())
    other = status(tmp_path, RUN.model_copy(update={"recipe": tiny_recipe(lr=0.2)}))
    assert other.state == "damaged" and "recipe.lr is 0.05 there, but the experiment asks for 0.2" in other.problem
    (seen,), _ = StoredRuns(tmp_path, []).look(0.0)
    assert seen.state == "finished"
