"""How far our curves are from those of the paper's figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from resrepro import paper
from resrepro.config.experiment import FigureSpec, PanelSpec
from resrepro.config.toml_files import find_experiment
from resrepro.figures import distance, responses
from resrepro.figures.data import read_figure
from resrepro.figures.kinds import FIGURES
from resrepro.results.paths import results_option
from resrepro.results.tables import Table


def _curve_distance(title: str, home: str, archs: tuple[str, ...], results_dir: Path) -> Table:
    spec = FigureSpec(name="distance", kind="distance", title=title, panel=(PanelSpec(title="", runs=archs),))
    shown = read_figure(find_experiment(home), spec, FIGURES["distance"], results_dir)
    found = distance.table(shown.rows, shown.spec, shown.data)
    command = f"resrepro run {home}{results_option(results_dir)}"
    return found if found.rows else replace(found, notes=(f"no run of these yet: `{command}`",))


def fig4(results_dir: Path) -> Table:
    """Tabulate how far our ImageNet curves are from those of Fig. 4."""
    archs = ("plain18", "plain34", "resnet18-A", "resnet34-A")
    return _curve_distance("Distance from the curves of Fig. 4: ImageNet", "plain34-vs-res34", archs, results_dir)


def fig6(results_dir: Path) -> Table:
    """Tabulate how far our CIFAR-10 curves are from those of Fig. 6."""
    archs = tuple(row.arch for row in paper.TABLE_6 if row.arch)
    plain = ("plain20", "plain32", "plain44", "plain56")
    return _curve_distance("Distance from the curves of Fig. 6: CIFAR-10", "cifar-plain", (*plain, *archs), results_dir)


def fig7(results_dir: Path) -> Table:
    """Tabulate how far our layer responses are from those of Fig. 7: level, layer by layer, and sorted."""
    spec = FigureSpec(
        name="distance", kind="responses", title="Distance from the responses of Fig. 7",
        panel=(PanelSpec(title="", runs=("plain20", "plain56", "resnet20", "resnet56", "resnet110")),),
    )  # fmt: skip
    shown = read_figure(find_experiment("layer-responses"), spec, FIGURES["responses"], results_dir)
    return responses.distance_table(shown.rows, shown.spec, shown.data)


DISTANCES: dict[str, Callable[[Path], Table]] = {"fig4": fig4, "fig6": fig6, "fig7": fig7}
