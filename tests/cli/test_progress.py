"""The live line of `run`: what it keeps in a narrow window, and what it says at the end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from resrepro.cli import progress
from resrepro.cli.progress import TerminalReporter
from resrepro.config.run import Run
from resrepro.config.toml_files import find_experiment
from support.records import point, record


def training(iteration: int, **values: Any) -> Any:
    defaults = {"elapsed_s": iteration / 100, "lr": 0.1, "points": [], "notes": [], "measuring_iters": 200.0}
    return SimpleNamespace(iteration=iteration, **(defaults | values))


def terminal(width: int) -> Console:
    return Console(width=width, height=12, force_terminal=True, color_system=None, legacy_windows=False)


def bars(console: Console, reporter: TerminalReporter) -> list[str]:
    """Return the lines that the terminal shows of the runs in training."""
    rendered = console.render_lines(reporter.progress.get_renderable(), pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in rendered]


def lines(width: int, runs: list[Run], iteration: int) -> list[str]:
    """Return what a terminal of this width shows of runs, at this iteration of each."""
    console = terminal(width)
    with console.capture(), TerminalReporter(console) as reporter:
        for run in runs:
            reporter.started(run, training(0))
            reporter.advanced(run, training(iteration), point(iteration, 10.0, error=12.34))
        return bars(console, reporter)


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_narrow_line_keeps_name_iteration_errors_and_eta(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.time, "monotonic", lambda: 0.0)
    runs = [r for r in find_experiment("cifar-resnet").runs if r.name == "resnet110"]
    shown = lines(width, runs, 12000)
    assert len(shown) == len(runs) == len({*shown}) and all(len(line) <= width for line in shown)
    for run, line in zip(runs, shown, strict=True):
        assert f"seed{run.seed} " in line and "12000/64000" in line and "ETA 8m42s" in line  # 52,200 iterations
        assert ("12.34/13.34 %" if width == 60 else "train 12.34 %  test 13.34 %") in line
        assert ("lr 0.1" in line, "images/s" in line, "cifar10/" in line) == (width > 80, width > 80, width > 60)


@pytest.mark.parametrize("width", [60, 80])
def test_several_runs_with_long_names_are_told_apart(width: int) -> None:
    ends = "warmup100", "128images", "128images-cifar"
    runs = [r for r in find_experiment("phase-diagram").runs if r.name.startswith("plain14-lr0.1-") and r.seed < 2]
    shown = lines(width, [run for run in runs if run.name.endswith(ends)], 700)
    names = {line.partition("  ")[0] for line in shown}
    assert len(names) == len(shown) == 6 and all(len(line) <= width for line in shown)


def test_a_note_is_one_line_once_for_all_runs() -> None:
    note = "layers are called plainly, for our kernels and the compiler know only nets of this package"
    console = Console(width=60)
    with console.capture() as captured, TerminalReporter(console) as reporter:
        for run in find_experiment("cifar-plain").runs[:2]:
            reporter.started(run, training(0, notes=[note]))
    assert captured.get().splitlines().count(note) == 1


def test_the_last_tests_are_named_and_take_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.time, "monotonic", lambda: 0.0)
    (line,) = lines(80, [find_experiment("cifar-plain").runs[0]], 64000)
    assert "64000/64000  last tests  train " in line and "ETA 0m02s" in line


@pytest.mark.parametrize("iteration", [5000, 64000])
def test_a_run_resumed_at_a_curve_point_has_no_speed_and_no_eta_yet(iteration: int) -> None:
    run = find_experiment("cifar-plain").runs[0]
    console = Console(width=140)
    with console.capture() as captured, TerminalReporter(console) as reporter:
        reporter.started(run, training(iteration))
        reporter.advanced(run, training(iteration, elapsed_s=iteration / 100 + 3.0), point(iteration, error=12.34))
    line = captured.get().splitlines()[-1]
    assert line.endswith("train 12.34 %  test 13.34 %") and "images/s" not in line and "ETA" not in line


def test_a_run_that_ends_leaves_a_line_above_the_bars_and_room_for_the_next() -> None:
    *runs, last = find_experiment("phase-diagram").runs[:30]
    console = terminal(80)
    with console.capture() as captured, TerminalReporter(console) as reporter:
        for run in runs:
            reporter.started(run, training(0))
            reporter.advanced(run, training(700), point(700, error=12.34))
            reporter.ended(run, record(run, wall_time_s=75.0), "")
        reporter.started(last, training(0))
        assert bars(console, reporter) == [f"{last}  0/{last.recipe.total_iters}  starting"]
    for run in runs:
        assert f"{run}: finished in 1m15s  train 12.34 %  test 13.34 %\n" in captured.get()
