"""One run has one color in all figures of an experiment; runs side by side have different ones."""

from __future__ import annotations

from pathlib import Path

from resrepro.config.toml_files import find_experiment
from resrepro.figures.colors import LINE_COLORS, depth_colors, distinct_colors, run_colors
from resrepro.figures.data import read_figure
from resrepro.figures.kinds import FIGURES


def test_a_depth_has_its_color_in_every_figure() -> None:
    assert depth_colors([20, 56])[56] == depth_colors([20, 32, 44, 56, 110])[56] != depth_colors([20])[20]
    assert list(depth_colors([38, 14])) == [14, 38]
    colors = distinct_colors({"a": 0, "b": 0, "plain20": 20}, ["ab", ["a", "b", "plain20"]])
    assert len(set(colors.values())) == 3 and colors["plain20"] == depth_colors([20])[20]


def test_one_color_a_depth_unless_a_panel_compares_one_depth() -> None:
    depths = {"plain20": 20, "resnet20": 20, "plain56": 56}
    apart = distinct_colors(depths, [["plain20", "plain56"], ["resnet20"]])
    assert apart["plain20"] == apart["resnet20"] == depth_colors([20, 56])[20] != apart["plain56"]
    both = distinct_colors(depths, [depths])
    assert len(set(both.values())) == 3 and both["plain20"] == apart["plain20"] and both["plain56"] == apart["plain56"]


def test_more_runs_than_colors_use_each_as_often() -> None:
    runs = {str(number): 56 for number in range(2 * len(LINE_COLORS))}
    colors = list(distinct_colors(runs, [runs]).values())
    assert {colors.count(color) for color in LINE_COLORS} == {2}


def test_a_run_has_one_color_in_all_figures_and_runs_of_a_legend_differ(tmp_path: Path) -> None:
    experiment = find_experiment("recipe-forensics")
    stored = ("plain56-decay-all", "plain56-32k-guess", "plain56-32k-fc-gaussian", "plain20", "plain56", "resnet20")
    for name in stored:
        (tmp_path / "cifar10" / name).mkdir(parents=True)
    colors = run_colors(experiment, tmp_path)
    assert {*colors} == {*stored}
    assert len({colors[name] for name in stored if name.startswith("plain")}) == 5  # they are dashed in one legend
    for spec in experiment.figures:
        runs = read_figure(experiment, spec, FIGURES[spec.kind], tmp_path).data.runs
        assert all(runs[name].color == colors[name] for name in stored if name in runs)
