"""The cells of a phase diagram, against differences known beforehand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from resrepro.config.experiment import Experiment, FigureSpec, PanelSpec
from resrepro.config.recipe import Warmup
from resrepro.config.run import Run
from resrepro.figures import phase
from resrepro.figures.data import Shown, read_figure
from resrepro.figures.files import render
from resrepro.figures.kinds import FIGURES
from resrepro.figures.look import Look
from support.stored_runs import run_of, stored

ERRORS = {  # arch, lr -> training errors of the seeds; None: diverged
    ("plain8", 0.1): [10.0, 12.0],
    ("plain14", 0.1): [30.0, 34.0],
    ("plain8", 0.01): [20.0],
    ("plain14", 0.01): [19.0],
    ("plain8", 1.0): [50.0],
    ("plain14", 1.0): [None],
    ("resnet8", 0.1): [10.0],
    ("resnet14", 0.1): [9.5],
    ("resnet14", 0.01): [9.0],  # without the shallow net there is no cell
}
DEEP_ALONE = "resnet14-lr0.01"


def run(arch: str, lr: float, seed: int) -> Run:
    base = run_of(arch, f"{arch}-lr{lr}", seed)
    return base.replace(recipe=base.recipe.model_copy(update={"lr": lr}))


def runs(results_dir: Path) -> list[Run]:
    found = []
    for (arch, lr), errors in ERRORS.items():
        for seed, error in enumerate(errors):
            found.append(run(arch, lr, seed))
            ends = {} if error is not None else {"status": "diverged", "diverged_iter": 3}
            stored(results_dir, found[-1], final_train_error_pct=error, **ends)
    return [*found, run("resnet8", 0.01, 0)]


def read(results_dir: Path, declared: list[Run], *panels: PanelSpec) -> Shown:
    spec = FigureSpec(name="f", kind="phase", title="T", panel=panels)
    dataset = declared[0].dataset
    experiment = Experiment(
        name="e", address="e", title="T", reproduces="", dataset=dataset, own_dataset=dataset, cost="",
        expect="", beyond_paper=True, runs=tuple(declared),
    )  # fmt: skip
    return read_figure(experiment, spec, FIGURES["phase"], results_dir)


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    declared = runs(tmp_path)
    panels = [
        PanelSpec(title=net, runs=tuple(dict.fromkeys(r.name for r in declared if r.name.startswith(net))))
        for net in ("plain", "resnet")
    ]
    return read(tmp_path, declared, *panels)


def test_a_cell_is_the_deep_nets_error_less_the_shallow_nets(shown) -> None:
    plain, residual = (phase.cells(panel, shown.rows, shown.data) for panel in shown.spec.panel)
    assert [(c.lr, c.difference) for c in plain] == [(0.01, -1.0), (0.1, 21.0), (1.0, 40.0)]  # diverged: 90 %
    assert plain[1].error == pytest.approx(math.sqrt(2 / 2 + 8 / 2)) and plain[0].error is None
    assert [(c.lr, c.difference) for c in residual] == [(0.1, -0.5)]


def test_a_panel_with_deep_nets_alone_has_no_cell(shown) -> None:
    alone = shown.rows[shown.rows["run"] == DEEP_ALONE]
    assert len(alone) == 1 and phase.cells(shown.spec.panel[1], alone, shown.data) == []


def test_warmups_at_two_rates_are_two_cells_in_the_words_asked_for(tmp_path: Path) -> None:
    errors = {("plain8", 0.01): 10.0, ("plain14", 0.01): 20.0, ("plain8", 0.001): 10.0, ("plain14", 0.001): 60.0}
    declared = []
    for (arch, lr), error in errors.items():
        base = run_of(arch, f"{arch}-warmup{lr}", 0)
        declared.append(base.replace(recipe=base.recipe.model_copy(update={"warmup": Warmup(lr=lr, iters=2)})))
        stored(tmp_path, declared[-1], final_train_error_pct=error)
    shown = read(tmp_path, declared, PanelSpec(title="plain", runs=tuple(run.name for run in declared)))
    found = phase.cells(shown.spec.panel[0], shown.rows, shown.data)
    assert {cell.choice[0]: cell.difference for cell in found} == {
        "lr 0.001 for 2 iterations": 50.0,
        "lr 0.01 for 2 iterations": 10.0,
    }
    look = Look(words={"warm-up": "Anlauf", "nowhere": "nirgends"})
    svg = render(FIGURES["phase"], replace(shown, data=replace(shown.data, look=look)), ["svg"])[0].decode()
    assert "warm-up" not in svg and "Anlauf" in svg and look.written == {"warm-up"}


def test_the_figure_writes_them_and_counts_what_is_missing(shown, tmp_path: Path) -> None:
    figure = phase.draw(shown.rows, shown.spec, shown.data)
    plain, residual = figure.axes[:2]
    assert [t.get_text() for t in plain.texts][1] == "+21.0 ± 2.2\n11.0 → 32.0"
    assert [t.get_text() for t in plain.get_xticklabels()] == ["0.01", "0.1", "1"]
    assert [t.get_position()[0] for t in residual.texts] == [1]
    assert plain.images[0].norm is residual.images[0].norm
    assert "1 of 10 nets" in figure.get_supxlabel()
    assert figure.get_supxlabel().endswith("; 1 run(s) diverged, counted as 90 %")
    figure.savefig(tmp_path / "f.png")


def test_nets_of_unknown_depth_are_left_out_and_counted(tmp_path: Path) -> None:
    names = "plain8-lr0.1", "plain14-lr0.1", "mine"
    declared = [*runs(tmp_path)[:3], run_of("own_nets.nets:Small", "mine")]
    stored(tmp_path, declared[-1])
    shown = read(tmp_path, declared, PanelSpec(title="mine", runs=names[2:]), PanelSpec(title="all", runs=names))
    figure = phase.draw(shown.rows, shown.spec, shown.data)
    several, left_out = figure.get_supxlabel().split("; ")
    assert several == "±: standard error, with 2 seeds a net"
    assert left_out == "left out, for their depth is not known: 1 net(s) of other code"
    assert [len(axes.texts) for axes in figure.axes] == [0, 1, 0]
    assert figure.axes[-1].get_ylabel() == "training error (%),\n14 less 8 layers"
    assert phase.table(shown.rows, shown.spec, shown.data).notes == (left_out,)


@pytest.mark.parametrize(
    ("dataset", "words", "differences"),
    [
        ("cifar100", "1 run(s) diverged, counted as 99 %", [59.0]),
        ("folder:birds", "1 run(s) diverged, left out, for chance is not known", []),
    ],
)
def test_a_diverged_net_has_the_error_of_chance(
    dataset: str, words: str, differences: list[float], tmp_path: Path
) -> None:
    shallow, deep = (run(arch, 0.1, 0).replace(dataset=dataset) for arch in ("plain8", "plain14"))
    stored(tmp_path, shallow, final_train_error_pct=40.0)
    stored(tmp_path, deep, final_train_error_pct=None, status="diverged", diverged_iter=3)
    shown = read(tmp_path, [shallow, deep], PanelSpec(title="p", runs=(shallow.name, deep.name)))
    assert [cell.difference for cell in phase.cells(shown.spec.panel[0], shown.rows, shown.data)] == differences
    assert phase.draw(shown.rows, shown.spec, shown.data).get_supxlabel() == words


def test_the_table_has_a_row_a_cell(shown) -> None:
    table = phase.table(shown.rows, shown.spec, shown.data)
    rows = table.rows
    assert table.notes == ("plain14-lr1.0 seed 0: diverged, counted as 90 %",)
    assert rows[1] == (
        "plain",
        "0.1",
        "none",
        "fan_out",
        "0.0001",
        "8",
        "all",
        "pytorch",
        "11.00",
        "32.00",
        "+21.00",
        "2.24",
        "2",
    )
    assert len(rows) == 4


def test_a_row_says_what_it_changes_and_the_first_what_others_do() -> None:
    usual = "none", "fan_out", 1e-4, 32, "all", "pytorch"
    rows = {
        usual: "fan_out, 32 images, decay of all",
        (*usual[:1], "fan_in", *usual[2:]): "fan_in",
        (*usual[:3], 128, "weights", usual[-1]): "128 images, decay of weights",
    }
    cells = [phase.Cell(lr=lr, choice=choice, shallow=(1.0,), deep=(2.0,)) for choice in rows for lr in (0.1, 0.01)]
    assert list(phase.choices_in_words(cells[::-1]).items()) == list(rows.items())
