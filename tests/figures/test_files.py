"""The data of the analyses' figures; what is missing or damaged is named, with the command that makes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from resrepro import results
from resrepro.config.toml_files import find_experiment
from resrepro.figures.data import read_runs
from resrepro.figures.files import draw_experiment
from resrepro.figures.kinds import FIGURES
from resrepro.figures.look import Look
from resrepro.results.csv_rows import read_rows
from resrepro.results.records import LayerNorms
from support.stored_runs import run_of, store_curve, stored, write_norms, write_responses

MISSING = Look(show_missing=True)


@pytest.mark.parametrize("name", ["layer-responses", "gradient-norms", "constructed-identity"])
def test_without_any_run_a_figure_says_what_makes_it(name: str, tmp_path: Path) -> None:
    drawn = draw_experiment(find_experiment(name), tmp_path, formats=("svg",))
    assert not drawn.files and not drawn.problems
    assert all(f"resrepro run {name}" in reason for reason in drawn.left_out.values())
    shown = draw_experiment(find_experiment(name), tmp_path, formats=("svg",), look=MISSING)
    assert not shown.left_out and len(shown.files) == len(drawn.left_out) > 0
    for file in shown.files:
        assert "not run: " in file.read_text() and f"resrepro run {name}" in file.read_text()


def drawn(results_dir: Path) -> tuple[str, list[str]]:
    drawn = draw_experiment(find_experiment("layer-responses"), results_dir, formats=("svg",), look=MISSING)
    (file,) = drawn.files
    return file.read_text(), [*drawn.problems]


def damaged(text: str) -> Callable[[results.RunFiles], None]:
    return lambda files: files.responses.write_text(text) and None


HEAD = "layer,name,std,num_images\n"


@pytest.mark.parametrize(
    ("damage", "hint"),
    [
        (damaged(HEAD + "1,conv1,x,5\n"), "responses.csv:2: expected layer,name,std,num_images"),
        (damaged(HEAD + "1,conv1\n"), "responses.csv:2: expected layer,name,std,num_images"),
        (damaged(HEAD + "1,conv1,nan,5\n"), "responses.csv:2: expected layer,name,std,num_images"),
        (damaged(HEAD + "1,conv1,1.0,5\n2,la"), "responses.csv:3: cut short"),
        (damaged(HEAD + "1,conv1,1.0,5\n"), "responses.csv: cut short after layer 1"),
        (damaged("layer,std\n"), "responses.csv:1: expected the columns layer,name,std,num_images"),
        (damaged("\x00\xff"), "responses.csv:1: expected the columns"),
        (damaged(""), "responses.csv:1: expected the columns"),
        (lambda files: files.responses.unlink(), "responses.csv: not there (finished by an older version)"),
        (lambda files: files.record.write_text("{") and None, "run.json: not a valid record"),
    ],
)  # fmt: skip
def test_a_damaged_or_older_run_is_named_and_the_others_are_drawn(
    damage: Callable[[results.RunFiles], None], hint: str, tmp_path: Path
) -> None:
    for r in find_experiment("layer-responses").runs:
        if r.name in ("plain20", "resnet20"):
            write_responses(stored(tmp_path, r), [1.0] * 19)
    files = results.run_files(tmp_path, next(r for r in find_experiment("layer-responses").runs if r.name == "plain20"))
    damage(files)
    svg, (problem,) = drawn(tmp_path)
    assert problem.startswith(f"{files.folder}/{hint}") and "\n" not in problem
    assert "left out: plain-20" in svg and "without that folder plain20/seed0:" in svg
    assert "not run: plain-56" in svg and "ResNet-20" in svg
    files.checkpoint.touch()
    assert "without that file:" in drawn(tmp_path)[0]


def test_gradients_that_are_cut_short_are_named(tmp_path: Path) -> None:
    run = run_of("plain8")
    files = stored(tmp_path, run)
    write_norms(files, {(0, "initialization"): [1.0] * 8, (12, "end"): [1.0] * 8})
    whole = files.gradients.read_text()
    assert len(read_rows(files.gradients, LayerNorms)) == 16
    files.gradients.write_text("\n".join(whole.splitlines()[:-1]) + "\n")
    _, _, problems = read_runs(tmp_path, [run], FIGURES["gradients"])
    assert "gradients.csv: cut short: 15 rows, expected 8 a moment; restore it" in problems[run]
    files.gradients.unlink()
    _, _, problems = read_runs(tmp_path, [run], FIGURES["gradients"])
    assert "not there (finished by an older version)" in problems[run]
    write_norms(files, {(0, "initialization"): [1.0] * 8})
    stored(tmp_path, run)  # with its digest
    files.gradients.unlink()
    _, _, problems = read_runs(tmp_path, [run], FIGURES["gradients"])
    assert "gradients.csv: missing; restore it" in problems[run]


def test_a_dollar_in_a_title_is_one(toml: Callable[..., Path], tmp_path: Path) -> None:
    """And no formula, of which `$^$` is a damaged one."""
    experiment = find_experiment(str(toml(('"A test"', '"A $^$ test"'), ('"both"', r'"$\\frac$"'))))
    (figure, *_) = draw_experiment(experiment, tmp_path, formats=("svg",), look=MISSING).files
    assert "$^$" in figure.read_text()


def test_a_figure_is_not_drawn_without_the_runs_that_it_is_about(tmp_path: Path) -> None:
    experiment = find_experiment("plain110")
    store_curve(tmp_path, "plain56", 12.0)
    drawn = draw_experiment(experiment, tmp_path, formats=("svg",))
    assert not drawn.files
    command = f"resrepro run plain110 --results-dir {tmp_path}"
    assert drawn.left_out["plain110"] == f"the runs that it is about are not stored; train them: {command}"
    missing = draw_experiment(experiment, tmp_path, formats=("svg",), look=Look(show_missing=True))
    store_curve(tmp_path, "plain110", 70.0)
    assert len(missing.files) == len(draw_experiment(experiment, tmp_path, formats=("svg",)).files) == 1
