"""The paper's curves behind ours, and the distance from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resrepro import results
from resrepro.config.run import Run, Variation
from resrepro.config.toml_files import find_experiment
from resrepro.figures import distance
from resrepro.figures.data import read_figure
from resrepro.figures.files import draw_experiment
from resrepro.figures.kinds import FIGURES
from resrepro.figures.look import Look
from resrepro.paper.curves import published_curve
from resrepro.report.distances import DISTANCES
from resrepro.results.csv_rows import write_rows
from resrepro.results.distance import distances, published
from resrepro.results.records import CurvePoint, Response
from resrepro.results.tables import Table
from support.processes import run as command
from support.records import record
from support.stored_runs import store_curve


def run_of(experiment: str, name: str) -> Run:
    return next(run for run in find_experiment(experiment).runs if run.name == name)


def store(results_dir: Path, run: Run, shift_pct: float, *, averaged: bool = False, until: int = 64_000) -> None:
    """Store a run whose curves are the paper's, plus a constant."""
    test, train = (published_curve("cifar10", run.arch, which) for which in ("test", "train"))
    assert test is not None and train is not None
    points = []
    for iteration in range(6000, until + 1, 1000):
        error = float(np.interp(iteration, test.iterations, test.error_pct)) + shift_pct
        points.append(
            CurvePoint(
                iteration=iteration, lr=0.1, train_loss=1.0, test_loss=1.0, elapsed_s=1.0,
                train_error_pct=float(np.interp(iteration, train.iterations, train.error_pct)) - shift_pct,
                test_error_pct=99.0 if averaged else error, test_error_bn_averaged_pct=error if averaged else None,
            )
        )  # fmt: skip
    files = results.run_files(results_dir, run)
    write_rows(files.curves, CurvePoint, points)
    write_rows(
        files.responses,
        Response,
        [Response(layer=i, name=f"conv{i}", std=1.0, num_images=10) for i in range(1, 20)],
    )
    results.write_record(files, record(run))


@pytest.mark.parametrize("averaged", [False, True])
def test_a_constant_shift_is_the_distance_in_every_window(averaged: bool, tmp_path: Path) -> None:
    run = run_of("cifar-plain", "plain20")
    store(tmp_path, run, 0.5, averaged=averaged)
    table = DISTANCES["fig6"](tmp_path)
    found = {row[1]: row for row in table.rows}
    assert list(found["test"][4::2]) == ["+0.50"] * 3
    assert found["test"][3].startswith("13.06±")
    columns, rows = table.divided()
    assert columns[3:6] == ["plateau, paper", "plateau, paper std", "plateau, paper note"] and rows[0][3] == "13.06"


def test_a_mean_over_a_part_of_a_window_is_said(tmp_path: Path) -> None:
    run = run_of("cifar-plain", "plain20")
    store(tmp_path, run, 0.5, until=36_000)
    *_, note = DISTANCES["fig6"](tmp_path).notes
    # a training error of ours stands half an interval earlier
    points = "plain-20, test, drop: 4 of 15 points; plain-20, train, drop: 3 of 15 points"
    assert note == f"means over a part of a window: {points}"
    shown = " ".join(command("show", "cifar-plain", "--results-dir", tmp_path).split())
    assert f"means over a part of a window: {points.replace('plain-20', 'plain20')}" in shown
    store(tmp_path, run, 0.5)
    assert "a part of a window" not in " ".join(DISTANCES["fig6"](tmp_path).notes)


def test_a_training_error_stands_in_the_middle_of_its_iterations() -> None:
    found = published_curve("cifar10", "plain20", "train")
    assert found is not None
    line = replace(found, error_pct=20 - found.iterations / 4000)
    points = [
        CurvePoint(
            iteration=i, lr=0.1, train_loss=1.0, train_error_pct=20 - (i - 500) / 4000 + 0.5, test_loss=1.0,
            test_error_pct=1.0, elapsed_s=1.0,
        )
        for i in range(1000, 64_001, 1000)
    ]  # fmt: skip
    apart = distances("x", {"train": line}, [points])["train"].difference
    assert apart.difference_pct == pytest.approx(0.5) and apart.iterations[-1] == 63_000
    assert [mean.difference_pct for mean in apart.windows] == pytest.approx([0.5] * 3)


def test_seeds_on_different_grids_stand_each_where_its_errors_do() -> None:
    found = published_curve("cifar10", "plain20", "train")
    assert found is not None
    line = replace(found, error_pct=20 - found.iterations / 4000)

    def points(every: int) -> list[CurvePoint]:
        return [
            CurvePoint(
                iteration=i, lr=0.1, train_loss=1.0, train_error_pct=20 - (i - every / 2) / 4000, test_loss=1.0,
                test_error_pct=1.0, elapsed_s=1.0,
            )
            for i in range(every, 64_001, every)
        ]  # fmt: skip

    both = distances("x", {"train": line}, [points(500), points(1000)])["train"]
    assert both.difference.difference_pct == pytest.approx(0, abs=1e-9) and both.num_seeds == 2


def test_the_distance_is_of_the_mean_over_seeds() -> None:
    curve = published_curve("cifar10", "plain20", "test")
    assert curve is not None

    def points(shift: float) -> list[CurvePoint]:
        return [
            CurvePoint(
                iteration=int(i), lr=0.1, train_loss=1.0, train_error_pct=1.0, test_loss=1.0,
                test_error_pct=float(e) + shift, elapsed_s=1.0,
            )
            for i, e in zip(curve.iterations, curve.error_pct, strict=True)
        ]  # fmt: skip

    found = distances("x", {"test": curve}, [points(1.0), points(2.0)])["test"]
    assert found.num_seeds == 2
    assert found.difference.difference_pct == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("experiment", "name", "shown"),
    [
        ("cifar-plain", "plain56", True),
        ("recipe-forensics", "plain56-32k-guess", True),
        ("plain-longer", "plain56-3x", False),
        ("quickstart", "plain-deep", False),
        ("constructed-identity", "plain56-from-plain20", False),
    ],
)
def test_a_counterpart_has_the_papers_data_and_schedule(experiment: str, name: str, shown: bool) -> None:
    assert bool(published(run_of(experiment, name))) == shown


def test_a_shortened_run_has_no_counterpart() -> None:
    run = find_experiment("cifar-plain").variant(Variation(schedule_scale=0.1)).runs[0]
    assert published(run) == {}


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"momentum": 0.8}, False),
        ({"weight_decay": 1e-3}, False),
        ({"crop_padding": 2}, False),
        ({"train_images": 1000}, False),
        ({"train_images": 45_000}, True),
        ({"decay": "all", "fc_init": "he", "bn_devices": 2}, True),
    ],
)
def test_what_the_paper_states_must_be_the_papers_and_what_it_leaves_open_not(
    changed: dict[str, Any], shown: bool
) -> None:
    run = run_of("cifar-plain", "plain20")
    assert bool(published(run.replace(recipe=run.recipe.model_copy(update=changed)))) == shown


def test_the_papers_curves_are_drawn_unless_left_out(tmp_path: Path) -> None:
    store(tmp_path, run_of("cifar-plain", "plain20"), 0.5)
    fig1 = find_experiment("plain20-vs-plain56")
    with_paper, without = (
        draw_experiment(fig1, tmp_path, formats=("svg",), look=Look(with_paper=shown)).files[0].read_text()
        for shown in (True, False)
    )
    assert "#8c8c8c" in with_paper and "#8c8c8c" not in without  # the gray of the paper's lines


def test_the_figure_has_a_line_a_run_and_the_papers_scatter(tmp_path: Path) -> None:
    store(tmp_path, run_of("cifar-plain", "plain20"), 0.5)
    experiment = find_experiment("plain-vs-resnet")
    spec = next(figure for figure in experiment.figures if figure.kind == "distance")
    shown = read_figure(experiment, spec, FIGURES["distance"], tmp_path)
    figure = distance.draw(shown.rows, shown.spec, shown.data)
    upper, lower = figure.axes
    assert figure.legends[0].texts[0].get_text() == "plain-20 (one seed)"
    apart = distance.of_runs(shown.rows, shown.data)["plain20"]
    assert apart["test"].difference.difference_pct == pytest.approx(0.5)
    for axes, which in ((upper, "test"), (lower, "train")):
        (line,) = [line for line in axes.lines if len(np.asarray(line.get_ydata())) > 2]
        found = apart[which].difference
        left_out = {32_000, 48_000} - {round(1e4 * at) for at in np.asarray(line.get_xdata())}
        assert left_out == (set() if which == "test" else {32_000, 48_000})  # ours there are means across the drop
        assert len(np.asarray(line.get_ydata())) == len(found.iterations) - len(left_out)
        assert np.asarray(line.get_ydata())[:5] == pytest.approx(found.difference_pct[:5])
        assert len(axes.collections) == 3  # the scatter, a window each


@pytest.mark.parametrize("ended", [{"status": "diverged", "diverged_iter": 8500}, None])
def test_a_seed_that_is_not_finished_takes_nothing_from_those_that_are(
    ended: dict[str, Any] | None, tmp_path: Path
) -> None:
    def said() -> tuple[Table, list[str]]:
        shown = command("show", "ambiguities", "--results-dir", tmp_path)
        return DISTANCES["fig6"](tmp_path), shown.partition("ours minus the paper's")[2].splitlines()

    first, second, _ = (run for run in find_experiment("ambiguities").runs if run.name == "resnet20")
    store(tmp_path, first, 0.5)
    alone = said()
    assert alone[0].rows[0][:3] == ("ResNet-20", "test", "1") and alone[1][2].endswith("+0.50 +0.50")
    store(tmp_path, second, 20.0)
    files = results.run_files(tmp_path, second)
    write_rows(files.curves, CurvePoint, results.read_points(files)[:3])  # to iteration 8,000
    files.record.unlink()
    if ended is not None:
        results.write_record(files, record(second, **ended))
    assert said() == alone


def test_without_a_curve_of_the_papers_there_is_no_blank_figure(tmp_path: Path) -> None:
    scaled = find_experiment("plain-vs-resnet").variant(Variation(schedule_scale=0.1))
    store_curve(tmp_path, "plain20", 9.5, scale=0.1)
    drawn = draw_experiment(scaled, tmp_path, formats=("svg",))
    assert drawn.left_out == {"plain-vs-resnet-distance": "the paper has no curves of these runs"}
    assert [file.name for file in drawn.files] == ["fig6-corners-x0.1.svg"]


def test_fig7_compares_level_and_layers(tmp_path: Path) -> None:
    store(tmp_path, run_of("cifar-plain", "plain20"), 0.0)
    (row,) = DISTANCES["fig7"](tmp_path).rows
    assert row[:5] == ("plain-20", "1", "1.82", "1.00", "-45")


def test_runs_with_and_without_averaged_statistics_stand_in_one_figure(tmp_path: Path) -> None:
    store(tmp_path, run_of("cifar-plain", "plain20"), 0.5, averaged=True)
    store(tmp_path, run_of("cifar-decay-all", "plain20-decay-all"), 1.5)
    experiment = find_experiment("recipe-forensics")
    spec = next(figure for figure in experiment.figures if figure.kind == "distance")
    shown = read_figure(experiment, spec, FIGURES["distance"], tmp_path)
    figure = distance.draw(shown.rows, shown.spec, shown.data)
    drawn = [np.asarray(line.get_ydata()) for line in figure.axes[0].lines if len(np.asarray(line.get_ydata())) > 2]
    assert [line.mean() for line in drawn] == pytest.approx([1.5, 0.5]) and figure.axes[0].get_xlim() == (0, 3.2)


def test_a_run_that_ends_before_the_published_curve_has_no_distance() -> None:
    curve = published_curve("cifar10", "plain56", "test")
    assert curve is not None and curve.iterations[0] > 50
    point = CurvePoint(
        iteration=50, lr=0.1, train_loss=1.0, train_error_pct=90.0, test_loss=1.0, test_error_pct=90.0, elapsed_s=1.0
    )
    assert distances("x", {"test": curve}, [[point]]) == {}
