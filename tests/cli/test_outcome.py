"""What `run` prints at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from resrepro import results
from resrepro.cli.options import console
from resrepro.cli.outcome import print_outcome
from resrepro.config.experiment import Claim, Experiment
from resrepro.config.run import Run, Variation
from resrepro.config.toml_files import find_experiment
from resrepro.results import csv_rows
from resrepro.results.records import CurvePoint, Response
from support.processes import error
from support.recipes import tiny_run
from support.records import point, record
from support.stored_runs import files_of


def outcome(experiment: Experiment, runs: Sequence[Run], results_dir: Path, *, width: int) -> str:
    with pytest.MonkeyPatch.context() as patch, console.capture() as captured:
        patch.setattr(console, "_width", width)
        print_outcome(experiment, runs, results_dir)
    return captured.get()


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_run_ends_with_verdicts_on_the_paper_only_under_its_schedule(scale: float, tmp_path: Path) -> None:
    experiment = find_experiment("plain-vs-resnet").variant(Variation(schedule_scale=scale))
    errors = {"plain20": 9.0, "resnet20": 8.0, "plain56": 13.0, "resnet56": 7.0}
    for run in experiment.runs:
        error = errors[run.name]
        ends = {"final_test_error_pct": error, "final_train_error_pct": error}
        results.write_record(files_of(tmp_path, run), record(run, schedule_scale=scale, **ends))
    bounded = Claim(text="reaches it", run="resnet20", below=9.5, column="test_error_pct")
    experiment = experiment.model_copy(update={"claims": (*experiment.claims, bounded)})
    printed = outcome(experiment, experiment.runs, tmp_path, width=200)
    if scale == 1:
        assert "\nconsistent (one run): 56 layers: " in printed and "\nconsistent (one run): reaches it" in printed
        assert "these verdicts" not in printed
    else:
        assert (
            "\nholds here (one run): 56 layers: " in printed
            and "consistent" not in printed
            and "reaches it" not in printed
        )
        assert "with --schedule-scale 0.1, these verdicts are not about" in printed


def test_claims_about_runs_that_were_not_asked_for_are_counted(tmp_path: Path) -> None:
    experiment = find_experiment("plain-vs-resnet")
    asked = [run for run in experiment.runs if run.name == "plain56"]
    results.write_record(files_of(tmp_path, asked[0]), record(asked[0]))
    printed = outcome(experiment, asked, tmp_path, width=200)
    claims = [line for line in printed.splitlines() if line.startswith("not run: ")]
    about = sum("plain56" in claim.runs for claim in experiment.claims)
    assert claims[-1] == f"not run: {len(experiment.claims) - about} claim(s) about other runs of the experiment"
    assert len(claims) == about + 1


def test_a_damaged_file_of_a_finished_run_is_an_error(toml: Callable[..., Path], tmp_path: Path) -> None:
    """It was a line among the others, and the exit code was 0."""
    run = tiny_run("plain8")
    files = files_of(tmp_path, run)
    csv_rows.write_rows(files.curves, CurvePoint, [point(12)])
    csv_rows.write_rows(files.responses, Response, [Response(layer=1, name="conv1", std=1.5, num_images=10)])
    results.write_record(files, record(run))
    files.responses.write_text(files.responses.read_text().replace("1.5", "1.4"))
    why = error("run", toml(), "--only", "plain8", "--device", "cpu", "--results-dir", tmp_path)
    assert why.startswith(f"{files.responses}: damaged, for its SHA-256 is not the one in run.json")


def test_a_diverged_run_is_said_in_a_line_of_its_own(tmp_path: Path) -> None:
    experiment = find_experiment("plain20-vs-plain56")
    for run, status in zip(experiment.runs, ("diverged", "finished"), strict=True):
        at = {"status": status, "diverged_iter": 700} if status == "diverged" else {}
        results.write_record(files_of(tmp_path, run), record(run, **at))
    printed = outcome(experiment, experiment.runs, tmp_path, width=80)
    lines = printed.splitlines()
    assert "diverged: cifar10/plain20/seed0, at iteration 700: its loss became NaN or infinite" in lines
    assert [line for line in lines if line.startswith("plain20/seed0 ") and " diverged " in line]


@pytest.mark.parametrize("width", [60, 80])
def test_names_of_runs_are_whole_in_a_narrow_terminal(width: int, tmp_path: Path) -> None:
    experiment = find_experiment("first-steps")
    for run in experiment.runs:
        results.write_record(files_of(tmp_path, run), record(run))
    printed = outcome(experiment, experiment.runs, tmp_path, width=width)
    assert all(f"\n{name}/seed0" in printed for name in experiment.run_names())
    assert "paper (%)" not in printed


def test_a_folder_with_a_space_is_quoted_in_the_commands(tmp_path: Path) -> None:
    experiment, root = find_experiment("lesions"), tmp_path / "my runs"
    for run in experiment.runs:
        results.write_record(files_of(root, run), record(run))
    printed = outcome(experiment, experiment.runs, root, width=200)
    assert f"\nnext:   resrepro plot lesions --format pdf --results-dir '{root}'\n" in printed
    assert f"to measure: `resrepro lesions '{root}/" in printed
