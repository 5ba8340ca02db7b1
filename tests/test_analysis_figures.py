"""The data of the analyses' figures; what is missing or damaged is named, with the command that makes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import tiny_recipe
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from test_end_to_end import run
from test_results import record

from resrepro import results
from resrepro.config.experiment import Experiment, FigureSpec, PanelSpec
from resrepro.config.run import Run
from resrepro.config.toml_files import find_experiment
from resrepro.errors import UserError
from resrepro.figures.data import read_figure, read_runs
from resrepro.figures.files import draw_experiment
from resrepro.figures.kinds import FIGURES
from resrepro.results import csv_rows
from resrepro.results.csv_rows import read_rows
from resrepro.results.records import ConstructedComparison, LayerNorms, Response, RunRecord

RECIPE = tiny_recipe()


def run_of(arch: str, name: str | None = None, seed: int = 0, start_from: Run | None = None) -> Run:
    name = name or arch
    return Run(dataset="shapes", name=name, arch=arch, recipe=RECIPE, seed=seed, label=name, start_from=start_from)


def stored(results_dir: Path, run: Run, **values: object) -> results.RunFiles:
    """A finished run's folder, as far as the analyses go."""
    files = results.run_files(results_dir, run)
    source = run.start_from.name if run.start_from else None
    results.write_record(files, record(run, **{"start_from": source, "final_train_error_clean_pct": 40.0, **values}))
    return files


def write_responses(files: results.RunFiles, stds: list[float]) -> None:
    found = [Response(layer=i, name=f"conv{i}", std=std, num_images=10) for i, std in enumerate(stds, 1)]
    csv_rows.write_rows(files.responses, Response, found)


def write_norms(files: results.RunFiles, norms: dict[tuple[int, str], list[float]]) -> None:
    names = ["conv1", *(f"layer{s}.0.conv{i}" for s in (1, 2, 3) for i in (1, 2)), "fc"]
    found = [
        LayerNorms(iteration=i, moment=moment, layer=n, name=name, gradient_norm=norm, weight_norm=2 * norm)
        for (i, moment), values in norms.items()
        for n, (name, norm) in enumerate(zip(names, values, strict=True), 1)
    ]
    csv_rows.write_rows(files.gradients, LayerNorms, found)


def draw(results_dir: Path, kind: str, runs: list[Run], *panels: tuple[str, ...]) -> Figure:
    spec = FigureSpec(name="f", kind=kind, title="T", panel=tuple(PanelSpec(title="p", runs=p) for p in panels))
    first = runs[0]
    experiment = Experiment(
        name="e", address="e", title="T", reproduces="", dataset=first.dataset, own_dataset=first.dataset, cost="",
        expect="", beyond_paper=True, runs=tuple(runs),
    )  # fmt: skip
    rows, data = read_figure(experiment, spec, FIGURES[kind], results_dir)
    assert not data.problems
    return FIGURES[kind].draw(rows, spec, data)


def lines(axes: Axes) -> list[tuple[list[float], list[float]]]:
    return [
        ([*map(float, li.get_xdata())], [*map(float, li.get_ydata())]) for li in axes.lines if len(li.get_xdata()) > 2
    ]


def texts(figure: Figure) -> str:
    return "\n".join(t.get_text() for axes in figure.axes for t in axes.texts)


STDS = [3.0, 1.0, 2.0, 0.5, 5.0, 4.0, 0.1]


def test_responses_are_drawn_in_their_order_and_sorted_the_largest_first(tmp_path: Path) -> None:
    write_responses(stored(tmp_path, run_of("plain8")), STDS)
    write_responses(stored(tmp_path, run_of("resnet8")), [1.0] * 7)
    write_responses(stored(tmp_path, run_of("resnet8", seed=1)), [3.0] * 7)
    runs = [run_of("plain8"), run_of("resnet8"), run_of("resnet8", seed=1)]
    figure = draw(tmp_path, "responses", runs, ("plain8", "resnet8"))
    upper, lower = figure.axes
    order = list(range(1, 8))
    assert lines(upper) == [(order, STDS), (order, [2.0] * 7)]  # the mean over seeds
    assert lines(lower)[0] == (order, sorted(STDS, reverse=True))
    plain, residual = upper.lines
    assert plain.get_color() == residual.get_color() and (plain.get_linestyle(), residual.get_linestyle()) == (
        "--",
        "-",
    )
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == ["plain8", "resnet8 (mean of 2 seeds)"]
    assert [a.get_xlabel() for a in (upper, lower)] == ["layer (original order)", "layer (sorted)"]


def test_gradients_have_a_line_a_moment_on_a_log_axis(tmp_path: Path) -> None:
    norms = {(0, "initialization"): [1.0, 2, 3, 4, 5, 6, 7, 8], (12, "end"): [0.1] * 8}
    write_norms(stored(tmp_path, run_of("plain8")), norms)
    figure = draw(tmp_path, "gradients", [run_of("plain8")], ("plain8",))
    upper, lower = figure.axes
    order = list(map(float, range(1, 9)))
    assert lines(upper) == [(order, [1.0, 2, 3, 4, 5, 6, 7, 8]), (order, [0.1] * 8)]
    assert lines(lower)[1] == (order, [0.2] * 8) and upper.get_yscale() == lower.get_yscale() == "log"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "initialization (iteration 0)",
        "end (iteration 12)",
    ]
    stages = [li.get_xdata()[0] for li in upper.lines if len(set(li.get_xdata())) == 1]
    assert stages == [1.5, 3.5, 5.5]


def test_a_zero_a_nan_and_a_divergence_are_shown(tmp_path: Path) -> None:
    norms = {(0, "initialization"): [0.0, 2, 3, 4, 5, 6, 7, 8], (6, "before drop 1"): [math.nan] * 8}
    write_norms(stored(tmp_path, run_of("plain8-nobn"), status="diverged", diverged_iter=10), norms)
    figure = draw(
        tmp_path, "gradients", [run_of("plain8-nobn")], ("plain8-nobn",)
    )  # fmt: skip
    upper = figure.axes[0]
    assert math.isnan(lines(upper)[0][1][0]) and lines(upper)[0][1][1:] == [2.0, 3, 4, 5, 6, 7, 8]
    (zero,) = [li for li in upper.lines if li.get_marker() == "v"]
    assert list(zero.get_xdata()) == [1] and "exactly zero" in figure.legends[0].get_texts()[-1].get_text()
    assert "not finite: before drop 1" in texts(figure) and "diverged at iteration 10: plain8-nobn" in texts(figure)
    figure.savefig(tmp_path / "f.png")  # lays it out


def test_error_against_depth_as_made_trained_on_and_from_scratch(tmp_path: Path) -> None:
    shallow, deep, scratch = (
        run_of("plain8"),
        run_of("plain20", "plain20-made", start_from=run_of("plain8")),
        run_of("plain20"),
    )
    stored(tmp_path, shallow, final_train_error_clean_pct=9.0, final_test_error_pct=10.0)
    stored(tmp_path, scratch, final_train_error_clean_pct=19.0, final_test_error_pct=20.0)
    files = stored(tmp_path, deep, final_train_error_clean_pct=7.0, final_test_error_pct=8.0)
    common = {"num_images": 5, "largest_difference": 2e-6, "largest_output": 12.3}
    made = [
        ConstructedComparison(part=part, shallower_error_pct=error, error_pct=error, **common)
        for part, error in (("train", 9.0), ("test", 10.0))
    ]
    csv_rows.write_rows(files.identity, ConstructedComparison, made)
    figure = draw(tmp_path, "identity", [shallow, deep, scratch], ("plain8", "plain20-made", "plain20"))
    (axes,) = figure.axes
    found = {li.get_marker(): ([*li.get_xdata()], [*li.get_ydata()]) for li in axes.lines}
    assert found == {"o": ([8, 20], [9, 19]), "s": ([8, 20], [9, 9]), "^": ([20], [7])}
    assert "outputs differ by at most 2e-06 (fp32)\nfrom the shallower net's, which go up to 12.3" in texts(figure)
    files.record.unlink()
    figure = draw(tmp_path, "identity", [shallow, deep, scratch], ("plain8", "plain20-made", "plain20"))
    assert "not yet trained on: plain20-made" in texts(figure)


# ---- what is missing or damaged


@pytest.mark.parametrize("name", ["layer-responses", "gradient-norms", "constructed-identity"])
def test_without_any_run_a_figure_says_what_makes_it(name: str, tmp_path: Path) -> None:
    found = draw_experiment(
        find_experiment(name), tmp_path, formats=("svg",), report=pytest.fail
    )  # fmt: skip
    for file in found:
        assert "not run: " in file.read_text() and f"resrepro run {name}" in file.read_text()


def drawn(results_dir: Path) -> tuple[str, list[str]]:
    problems: list[str] = []
    (file,) = draw_experiment(
        find_experiment("layer-responses"), results_dir, formats=("svg",),
        report=problems.append,
    )  # fmt: skip
    return file.read_text(), problems


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


def test_rows_come_back_to_the_digit(tmp_path: Path) -> None:
    found = [Response(layer=1, name="conv1", std=1 / 3, num_images=7)]
    csv_rows.write_rows(tmp_path / "r.csv", Response, found)
    assert read_rows(tmp_path / "r.csv", Response) == found and read_rows(tmp_path / "none.csv", Response) == []


def test_a_record_of_an_older_version_is_read(tmp_path: Path) -> None:
    run = run_of("plain8")
    files = results.run_files(tmp_path, run)
    older = record(run).model_dump()
    del older["start_from"]
    assert RunRecord(**older) == record(run)
    results.write_record(files, record(run))
    assert results.read_finished(tmp_path, run) == record(run)
    with pytest.raises(UserError, match="start_from is None there, but the experiment asks for 'plain8'"):
        results.read_finished(tmp_path, run.model_copy(update={"start_from": run}))


def test_the_three_experiments_as_a_user_types_them(toml: Callable[..., Path], tmp_path: Path) -> None:
    """Responses, gradients and a net made deeper, all from one small file; then a damaged CSV."""
    figures = "".join(
        f'[[figure]]\nname = "{kind}"\nkind = "{kind}"\ntitle = "T"\n[[figure.panel]]\ntitle = "p"\nruns = ["deep"]\n'
        for kind in ("responses", "gradients", "identity")
    )
    path = toml(
        ('arch = "resnet8"\nseeds = [0, 1]', 'arch = "plain14"\nname = "deep"\nstart_from = "plain8"'),
        ('lower = "resnet8"', 'lower = "deep"'),
        ('runs = ["plain8", "resnet8"]\n', 'runs = ["plain8", "deep"]\n' + figures),
    )
    results_dir = tmp_path / "results"
    out = run("run", path, "--only", "deep", "--precision", "fp32", "--results-dir", results_dir)
    assert "shapes/plain8/seed0: started, 12 iterations" in out and "shapes/deep/seed0: started, 6 iterations" in out
    assert "resumed" not in out and "left out" not in out
    for kind in ("tiny", "responses", "gradients", "identity"):
        assert (results_dir / "figures" / f"{kind}.png").stat().st_size > 10_000
    csv = results_dir / "shapes" / "deep" / "seed0" / "responses.csv"
    csv.write_text(csv.read_text()[:-3])
    out = run("plot", path, "--results-dir", results_dir, code=1)
    assert "error: " in out and "responses.csv:14: cut short" in out and "identity.png" in out
    csv.unlink()
    run("run", path, "--only", "deep", "--precision", "fp32", "--results-dir", results_dir)
    assert "error" not in run("plot", path, "--results-dir", results_dir)
