"""What `list` and `show` print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from resrepro import results
from resrepro.cli import options
from resrepro.config.toml_files import find_experiment
from support.processes import run
from support.records import record
from support.stored_runs import files_of


def test_a_shortened_schedule_has_its_own_progress(tmp_path: Path) -> None:
    first = find_experiment("plain20-vs-plain56").runs[0].scaled(0.02)
    results.write_record(files_of(tmp_path, first), record(first, schedule_scale=0.02, final_test_error_pct=40.0))
    typed = "--schedule-scale", "0.02", "--results-dir", tmp_path
    shown = run("show", "plain20-vs-plain56", *typed)
    assert "1280 iterations" in shown and "finished" in shown and "40.00" in shown
    assert f"\nresrepro run plain20-vs-plain56 --schedule-scale 0.02 --results-dir {tmp_path}\n" in shown
    listed = [line.split() for line in run("list", *typed).splitlines() if line.startswith("plain20-vs-plain56 ")]
    assert [cell for line in listed for cell in line if "/" in cell] == ["1/2"]
    assert "finished" not in run("show", "plain20-vs-plain56", "--results-dir", tmp_path)


def test_the_list_leaves_out_what_is_too_short_to_be_shortened(tmp_path: Path) -> None:
    listed = run("list", "--schedule-scale", "0.01", "--results-dir", tmp_path)  # of first-steps' 50 nothing is left
    assert "\nfirst-steps " not in listed and "\nphase-diagram " in listed
    assert "\ntoo short for --schedule-scale 0.01: first-steps\n" in listed
    assert "\nfirst-steps " in run("list", "--schedule-scale", "0.02", "--results-dir", tmp_path)
    with pytest.raises(AssertionError, match="leaves no iteration of"):
        run("list", "--schedule-scale", "1e-9", "--results-dir", tmp_path)


def test_a_recipe_is_shown_by_the_keys_that_are_set(tmp_path: Path) -> None:
    shown = run("show", "warmup-110", "--results-dir", tmp_path)
    assert "decay = weights, fc_init = gaussian, bn_average_batches = 100" in shown and "no warmup" in shown
    assert "None" not in shown and "signals" not in shown


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_names_of_runs_are_whole_at_any_width(width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options.console, "_width", width)
    shown = run("show", "cifar-decay-all", "--results-dir", tmp_path)
    assert all(name in shown for name in find_experiment("cifar-decay-all").run_names())


def test_a_folder_with_a_space_is_quoted_in_the_commands(tmp_path: Path) -> None:
    shown = run("show", "cifar-plain", "--dataset", f"folder:{tmp_path}/my birds", "--results-dir", tmp_path)
    assert f"\nresrepro run cifar-plain --dataset 'folder:{tmp_path}/my birds' --results-dir {tmp_path}\n" in shown


def test_a_file_with_a_space_is_quoted_in_the_commands(toml: Callable[..., Path], tmp_path: Path) -> None:
    path = toml(name="my nets")
    typed = f"'{path}' --results-dir {tmp_path}\n"
    assert run("show", path, "--results-dir", tmp_path).endswith(f"\nresrepro run {typed}resrepro plot {typed}")
    not_drawn = run("plot", path, "--results-dir", tmp_path, code=1).splitlines()[-1]
    assert not_drawn.endswith(f"none of its runs is stored; train them: resrepro run {typed.rstrip()}")
