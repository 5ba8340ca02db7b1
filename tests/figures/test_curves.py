"""Figure data, labels and remarks; verdicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import pytest
from matplotlib.axes import Axes

from resrepro import results
from resrepro.cli.outcome import print_outcome
from resrepro.config.experiment import Claim, FigureSpec, PanelSpec
from resrepro.config.run import Variation
from resrepro.config.toml_files import find_experiment
from resrepro.figures import curves
from resrepro.figures.data import FigureData, FigureRun
from resrepro.figures.files import draw_experiment
from resrepro.figures.look import Look
from resrepro.report.judge import judge
from resrepro.results.csv_rows import write_rows
from resrepro.results.records import CurvePoint
from support.recipes import tiny_run
from support.stored_runs import store_curve


def rows(run: str, seed: int, train: list[float], test: list[float], status: str = "finished") -> list[dict[str, Any]]:
    return [
        {"run": run, "label": run, "seed": seed, "status": status, "iteration": 32000 * (i + 1), "lr": 0.1,
         "train_loss": 1.0, "train_error_pct": a, "test_loss": 1.0, "test_error_pct": b, "elapsed_s": 1.0}
        for i, (a, b) in enumerate(zip(train, test, strict=True))
    ]  # fmt: skip


SPEC = FigureSpec(
    name="f", title="T", error_max_pct=20,
    panel=(PanelSpec(title="left", runs=("plain20", "plain56")), PanelSpec(title="right", runs=("resnet20",))),
)  # fmt: skip
DATA = FigureData(
    title="T",
    note="",
    runs={
        "plain20": FigureRun(label="plain-20", depth=20, command="resrepro run cifar-plain"),
        "plain56": FigureRun(label="plain-56", depth=56, color="red", command="resrepro run cifar-plain"),
        "resnet20": FigureRun(
            label="ResNet-20", depth=20, command="resrepro run cifar-resnet", missing=True, paper_error_pct=8.75
        ),
    },
)
TABLE = pd.DataFrame(
    rows("plain20", 0, [10, 6], [12, 9])
    + rows("plain56", 0, [14, 11], [16, 13])
    + rows("plain56", 1, [16, 13], [18, 15])
)


def test_long_labels_leave_room_for_the_curves() -> None:
    data = changed("plain56", label="plain-56, with a label that says all about its recipe")
    with matplotlib.rc_context(data.look.settings):
        figure = curves.draw(TABLE, SPEC, data)
        figure.draw_without_rendering()
    assert figure.axes[0].get_window_extent().width / figure.dpi >= 1.6
    assert figure.axes[0].get_legend() is not None and curves.draw(TABLE, SPEC, DATA).axes[0].get_legend() is None


def changed(name: str, **fields: Any) -> FigureData:
    """Return DATA with these fields of one run."""
    return replace(DATA, runs={**DATA.runs, name: replace(DATA.runs[name], **fields)})


def texts(axes: Axes) -> str:
    return "\n".join(t.get_text() for t in axes.texts)


def test_lines_are_the_curves_dashed_training_bold_test_mean_over_seeds() -> None:
    left = curves.draw(TABLE, SPEC, DATA).axes[0]
    lines = {(line.get_color(), line.get_linestyle()): line for line in left.lines}
    assert len(lines) == 4
    colors = list(dict.fromkeys(color for color, _ in lines))
    data = {key: (list(line.get_xdata()), list(line.get_ydata())) for key, line in lines.items()}
    assert data[colors[0], "--"] == ([3.2, 6.4], [10, 6]) and data[colors[0], "-"] == ([3.2, 6.4], [12, 9])
    assert data[colors[1], "--"] == ([3.2, 6.4], [15, 12]) and data[colors[1], "-"] == ([3.2, 6.4], [17, 14])
    assert lines[colors[0], "-"].get_linewidth() > lines[colors[0], "--"].get_linewidth()
    assert len(left.collections) == 2  # the bands of the run with two seeds
    assert (left.get_xlabel(), left.get_ylim(), left.get_xlim()) == ("iter. (1e4)", (0, 20), (0, 6.4))


def test_a_curve_of_one_point_is_a_marker() -> None:
    one = pd.DataFrame(rows("plain20", 0, [10], [12]) + rows("plain56", 0, [14, 11], [16, 13]))
    left = curves.draw(one, SPEC, DATA).axes[0]
    assert {len(line.get_xdata()): line.get_marker() for line in left.lines} == {1: "o", 2: "None"}


def test_labels_at_the_ends_say_error_and_seeds_and_do_not_overlap() -> None:
    close = pd.DataFrame(
        [r for i, n in enumerate(("plain20", "plain56")) for r in rows(n, 0, [9, 8], [9, 8 + i / 100])]
    )
    labels = [t for t in curves.draw(close, SPEC, DATA).axes[0].texts if "plain" in t.get_text()]
    assert {t.get_text() for t in labels} == {"plain-20  8.00", "plain-56  8.01"}
    low, high = sorted(t.xyann[1] for t in labels)
    assert high - low > 20 * 0.04
    assert "plain-56  14.00 (n = 2)" in texts(curves.draw(TABLE, SPEC, DATA).axes[0])


def test_missing_diverged_unfinished_and_off_axis_runs_are_named() -> None:
    left, right = curves.draw(TABLE, SPEC, replace(DATA, look=Look(show_missing=True))).axes
    assert "not run: ResNet-20\n  resrepro run cifar-resnet" in texts(right)
    assert "not run" not in texts(left)
    odd = pd.DataFrame(rows("plain20", 0, [70, 65], [70, 66]) + rows("plain56", 0, [9], [9], "diverged"))
    left = curves.draw(odd, SPEC, DATA).axes[0]
    assert "outside the axis: plain-20  66.00" in texts(left) and "plain-56  9.00, diverged" in texts(left)
    assert any(line.get_marker() == "x" for line in left.lines)
    assert "unfinished" in texts(curves.draw(TABLE.assign(status="unfinished"), SPEC, DATA).axes[0])


def test_remarks_hide_nothing() -> None:
    data = replace(changed("plain56", missing=True), look=Look(show_missing=True))
    with matplotlib.rc_context(data.look.settings):
        figure = curves.draw(TABLE[TABLE["run"] == "plain20"], SPEC, data)
        figure.draw_without_rendering()
    left = figure.axes[0]
    (remark,) = (t for t in left.texts if "not run" in t.get_text())
    assert remark.get_window_extent().y0 > 0
    assert remark.get_window_extent().y1 < left.xaxis.label.get_window_extent().y0
    assert all(remark.get_window_extent().y0 > legend.get_window_extent().y1 for legend in figure.legends)


def test_finished_seeds_are_drawn_and_early_divergence_is_named() -> None:
    begun = pd.concat([TABLE, pd.DataFrame(rows("plain56", 2, [50], [50], "unfinished"))])
    left = curves.draw(begun, SPEC, DATA).axes[0]
    assert "plain-56  14.00 (n = 2)" in texts(left) and "unfinished" not in texts(left)
    diverged = changed("resnet20", missing=False, diverged_iter=100)
    assert "diverged at iteration 100: ResNet-20" in texts(curves.draw(TABLE, SPEC, diverged).axes[1])


def test_the_papers_error_is_a_tick_at_the_right_edge() -> None:
    table = pd.DataFrame(rows("resnet20", 0, [3, 1], [9, 8.5]))
    right = curves.draw(table, SPEC, DATA).axes[1]
    ticks = [line for line in right.lines if line.get_marker() == "<"]
    assert [(t.get_xdata()[0], t.get_ydata()[0]) for t in ticks] == [(6.4, 8.75)]


def test_fig1_is_drawn_from_fig6s_runs_and_a_scaled_one_says_so(tmp_path: Path) -> None:
    store_curve(tmp_path, "plain20", 9.5)
    store_curve(tmp_path, "plain56", 13.0, scale=0.05)
    experiment = find_experiment("plain20-vs-plain56")
    files = draw_experiment(experiment, tmp_path, formats=("svg",)).files
    scaled = draw_experiment(experiment.variant(Variation(schedule_scale=0.05)), tmp_path, formats=("svg",)).files
    assert [f.name for f in files + scaled] == ["fig1.svg", "fig1-x0.05.svg"]
    full, short = (f.read_text() for f in files + scaled)
    assert "plain-20  9.50" in full and "plain-56" not in full and "schedule" not in full
    assert "plain-56  13.00" in short and "schedule × 0.05, not the paper's" in short


def test_a_run_with_another_recipe_is_not_compared_with_the_papers_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store_curve(tmp_path, "resnext29-8x64d", 4.0)
    store_curve(tmp_path, "resnet110-300epochs", 6.0)
    experiment = find_experiment("resnext")
    (file,) = draw_experiment(experiment, tmp_path, formats=("svg",)).files
    drawn = file.read_text()
    assert "ResNeXt-29 (8x64d)  4.00 (paper 3.65)" in drawn and "ResNet-110 (300 epochs)  6.00" in drawn
    print_outcome(experiment, experiment.runs, tmp_path)
    printed = capsys.readouterr().out
    assert "3.65" in printed and "consistent (one run): ResNeXt-29 (8x64d) has a lower test error" in printed
    assert "paper 6.61" not in drawn and "6.61" not in printed


def test_a_verdict_follows_its_rule(tmp_path: Path) -> None:
    experiment = find_experiment("cifar-resnet")
    claim = Claim(text="t", higher="resnet56", lower="resnet110", column="test_error_pct")
    assert judge([(experiment, claim)], tmp_path)[0].status == "not run"
    store_curve(tmp_path, "resnet56", 6.75)
    store_curve(tmp_path, "resnet110", 6.5)  # 6.5, 6.6, 6.7, 6.8, 6.9 over the seeds
    (verdict,) = judge([(experiment, claim)], tmp_path)
    assert verdict.status == "inconclusive"
    assert "resnet56 6.75 %, resnet110 6.70 %, n = 1 and 5" in verdict.detail
    strict = claim.model_copy(update={"min_difference_pct": 2.0})
    assert judge([(experiment, strict)], tmp_path)[0].status == "inconsistent (one run)"


def test_unfinished_runs_do_not_count(tmp_path: Path) -> None:
    files = results.run_files(tmp_path, tiny_run())
    write_rows(files.curves, CurvePoint, [])
    assert results.read_finished(tmp_path, tiny_run()) is None


def test_a_figure_of_one_error_alone_names_it_at_its_axis() -> None:
    panels = [panel.model_copy(update={"show": ("train",)}) for panel in SPEC.panel]
    figure = curves.draw(TABLE, SPEC.model_copy(update={"panel": tuple(panels)}), DATA)
    assert figure.axes[0].get_ylabel() == "training error (%)"
    assert curves.draw(TABLE, SPEC, DATA).axes[0].get_ylabel() == "error (%)"


@pytest.mark.parametrize(("width", "num_columns"), [(3.3, 1), (5.5, 2), (12.0, 2)])
def test_a_narrow_figure_has_wide_axes_and_whole_labels(width: float, num_columns: int) -> None:
    data = changed("plain56", label="plain-56, other recipe")
    look = Look(width_inches=width)
    with matplotlib.rc_context(look.settings):
        figure = curves.draw(TABLE, SPEC, replace(data, look=look))
        figure.draw_without_rendering()
    left, right = figure.axes
    inches = left.get_window_extent().width / figure.dpi
    assert inches >= 1.6
    assert (right.get_position().x0 > left.get_position().x1) == (num_columns == 2)
    legend = left.get_legend()
    assert ("plain-56, other recipe  14.00 (n = 2)" in texts(left)) == (legend is None) == (width == 12)
    if legend is not None:
        assert [text.get_text()[:8] for text in legend.get_texts()] == ["plain-56", "plain-20"]  # the higher first
        assert legend.get_window_extent().x1 <= figure.bbox.x1 and legend.get_window_extent().x0 >= 0
        assert legend.get_window_extent().y1 < left.xaxis.label.get_window_extent().y0
        assert legend.get_window_extent().y0 > figure.legends[0].get_window_extent().y1
