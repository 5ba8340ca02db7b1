"""The effects of choices: their numbers, their table, their figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib import rc_context
from matplotlib.text import Text

from resrepro import results
from resrepro.config.experiment import FigureSpec, PanelSpec
from resrepro.config.toml_files import find_experiment
from resrepro.figures import curves, effects
from resrepro.figures.data import FigureData, FigureRun
from resrepro.figures.files import draw_experiment
from resrepro.figures.look import Look
from resrepro.results import csv_rows
from resrepro.results.records import CurvePoint
from support.recipes import tiny_run
from support.records import point, record
from support.stored_runs import store_curve

PANEL = PanelSpec(title="p", runs=("base", "other", "one", "absent"), not_here={"stride": "no bottleneck"})
SPEC = FigureSpec(name="f", title="T", kind="effects", panel=(PANEL,))
NO_ROWS = pd.DataFrame()  # the table is of the records


def records(errors: list[float], reestimated: list[float] | None = None, **changes: Any) -> tuple[Any, ...]:
    return tuple(
        record(tiny_run(seed=seed), final_test_error_pct=error, final_test_error_bn_reestimated_pct=new, **changes)
        for seed, (error, new) in enumerate(zip(errors, reestimated or errors, strict=True))
    )


def context(note: str = "", **changes: dict[str, Any]) -> FigureData:
    """Return four runs, with the changes that are given by the name of a run."""
    runs = {
        "base": {"records": records([8.0, 8.2], [7.9, 8.2])},
        "other": {"records": records([8.5, 8.9, 8.7])},
        "one": {"records": records([8.0])},
        "absent": {"missing": True, "command": "resrepro run x"},
    }
    return FigureData(
        title="T",
        note=note,
        runs={
            name: FigureRun(label=name.title(), depth=20, **{**fields, **changes.get(name, {})})
            for name, fields in runs.items()
        },
    )


def test_difference_and_standard_error() -> None:
    base, reestimated, other, one, absent, stride = effects.effects(PANEL, context())
    assert (base.difference, base.standard_error) == (None, None)
    # Welch: variances 0.02 / 2 and 0.04 / 3
    assert (other.difference, other.standard_error) == (pytest.approx(0.6), pytest.approx((0.01 + 0.04 / 3) ** 0.5))
    # paired: the differences -0.1 and 0 have the standard deviation 0.0707
    assert (reestimated.difference, reestimated.standard_error) == (pytest.approx(-0.05), pytest.approx(0.05))
    assert (one.difference, one.standard_error) == (pytest.approx(-0.1), None)
    assert (absent.errors_pct, absent.remark) == ((), "not run: resrepro run x")
    assert (stride.choice, stride.remark) == ("stride", "no bottleneck")


def test_a_default_with_averaged_bn_is_compared_with_moving_averages() -> None:
    run = tiny_run(bn_average_batches=3)
    averaged = record(run, final_test_error_pct=9.0, final_test_error_bn_reestimated_pct=8.0)
    base, moving, other, *_ = effects.effects(PANEL, context(base={"records": (averaged,)}))
    assert (base.errors_pct, moving.errors_pct, moving.difference) == ((8.0,), (9.0,), 1.0)
    assert moving.choice == "BN's moving averages (same nets)" and other.difference == pytest.approx(0.7)


def test_the_table_has_mean_deviation_difference_noise_and_number() -> None:
    assert effects.table(NO_ROWS, SPEC, context()).rows == (
        ("Base: the default", "8.10", "0.14", "", "", "2", ""),
        ("BN statistics re-estimated (same nets)", "8.05", "0.21", "-0.05", "0.05", "2", ""),
        ("Other", "8.70", "0.20", "+0.60", "0.15", "3", ""),
        ("One", "8.00", "", "-0.10", "", "1", ""),
        ("Absent", "", "", "", "", "", "not run: resrepro run x"),
        ("stride", "", "", "", "", "", "no bottleneck"),
    )
    scaled = effects.table(NO_ROWS, SPEC, context(note="schedule × 0.1, not the paper's"))
    assert {remark for *_, remark in scaled.rows[:4]} == {"schedule × 0.1, not the paper's"}


def test_without_the_default_there_is_no_difference() -> None:
    none = {"records": ()}
    lacking = context(base={**none, "missing": True, "command": "resrepro run y"}, one=none, absent={"missing": False})
    found = [dict(zip(effects.COLUMNS, row, strict=True)) for row in effects.table(NO_ROWS, SPEC, lacking).rows]
    assert {row["difference"] for row in found} == {""} and found[2]["test error (%)"] == "8.70"
    assert [row["remark"] for row in found[:2]] == ["not run: resrepro run y"] * 2
    effects.draw(pd.DataFrame(), SPEC, lacking)


def test_divergence_and_another_precision_are_said() -> None:
    data = context(other={"records": records([8.5], precision="bf16")}, one={"diverged_iter": 7})
    remarks = [effect.remark for effect in effects.effects(PANEL, data)]
    assert remarks[2] == "in bf16, unlike the default" and remarks[3] == "a seed diverged at iteration 7"
    assert effects.effects(PANEL, context(absent={"missing": False}))[4].remark == "unfinished"


def test_the_figure_has_each_seed_its_mean_and_its_bar() -> None:
    (axes,) = effects.draw(pd.DataFrame(), SPEC, replace(context(), look=Look(show_missing=True))).axes
    assert [t.get_text() for t in axes.get_yticklabels()][2:4] == ["Other", "One"]
    seeds = next(line for line in axes.lines if len(line.get_xdata()) == 3)
    assert list(seeds.get_xdata()) == pytest.approx([0.4, 0.8, 0.6]) and list(seeds.get_ydata()) == [2, 2, 2]
    (bar,) = axes.containers[2].lines[2]  # of the third row
    ((x0, y0), (x1, y1)) = bar.get_segments()[0]
    assert (x0, x1) == (pytest.approx(0.6 - 0.15275, abs=1e-4), pytest.approx(0.6 + 0.15275, abs=1e-4))
    assert (y0, y1) == (2, 2)
    texts = [t.get_text() for t in axes.texts]
    assert texts[2] == "8.70 %   +0.60 ± 0.15   n = 3" and texts[3] == "8.00 %   -0.10   n = 1"
    assert "not run: resrepro run x" in texts and "no bottleneck" in texts


def test_ambiguities_is_drawn_from_records_with_a_table_beside_it(tmp_path: Path) -> None:
    store_curve(tmp_path, "resnet20", 8.5)
    experiment = find_experiment("ambiguities")
    for run in experiment.runs:
        if run.name == "resnet20-2devices":
            files = results.run_files(tmp_path, run)
            csv_rows.write_rows(files.curves, CurvePoint, [point(64000)])
            results.write_record(files, record(run, final_test_error_pct=8.0 + run.seed / 10))
    files = draw_experiment(experiment, tmp_path, formats=("svg",)).files
    assert [f.name for f in files] == ["ambiguities.svg", "ambiguities.md", "ambiguities.csv"]
    markdown = files[1].read_text()
    assert "| BN sees 64 images at a time | 8.10 | 0.10 | -0.40 |  | 3 |  |" in markdown
    command = f"resrepro run ambiguities --results-dir {tmp_path}"
    assert f"| Caffe's momentum |  |  |  |  |  | not run: {command} |" in markdown
    assert "no bottleneck in ResNet-20" in markdown and "-0.40" in files[0].read_text()
    table = pd.read_csv(files[2])
    (row,) = table[table["choice"] == "BN sees 64 images at a time"].itertuples()
    assert row.difference == -0.4 and row.seeds == 3


def test_a_figure_may_show_the_beginning_alone() -> None:
    table = pd.DataFrame(
        [
            {"run": "a", "label": "a", "seed": 0, "status": "finished", "iteration": i, "train_error_pct": 90 - i / 100,
             "test_error_pct": 90.0}
            for i in (500, 1000, 1500)
        ]
    )  # fmt: skip
    spec = FigureSpec(name="f", title="T", until_iter=1000, panel=(PanelSpec(title="p", runs=("a",)),))
    data = FigureData(title="T", note="", runs={"a": FigureRun(label="a", depth=20)})
    (axes,) = curves.draw(table, spec, data).axes
    assert axes.get_xlim() == (0, 1000) and list(axes.lines[0].get_xdata()) == [500, 1000]


def test_a_missing_run_is_had_where_it_costs_least(tmp_path: Path) -> None:
    """ResNet-20 with one seed is cifar-resnet's; with three it is ambiguities'."""
    mine = find_experiment("resnext").model_copy(
        update={
            "figures": (FigureSpec(name="f", title="T", panel=(PanelSpec(title="p", runs=("resnet20", "resnet110")),)),)
        }
    )
    (file,) = draw_experiment(mine, tmp_path, formats=("svg",), look=Look(show_missing=True)).files
    drawn = file.read_text()
    assert "resrepro run cifar-resnet" in drawn and "resrepro run ambiguities" not in drawn


def test_a_narrow_figure_has_room_for_the_words_below_the_axis() -> None:
    look = Look(style="poster", width_inches=5)
    with rc_context(look.settings):
        figure = effects.draw(NO_ROWS, SPEC, replace(context(), look=look))
        figure.canvas.draw()
    (words,) = (text for text in figure.findobj(Text) if "small: each" in text.get_text())
    extent = words.get_window_extent()
    assert figure.bbox.x0 < extent.x0 and extent.x1 < figure.bbox.x1
