"""A grid stands for its runs, and a pattern for theirs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from resrepro.config.recipe import Warmup
from resrepro.config.toml_files import find_experiment, read_experiment
from resrepro.errors import UserError

RUNS = """[[run]]
arch = "plain8"
[[run]]
arch = "resnet8"
seeds = [0, 1]
"""
GRID = """[grid]
arch = ["plain8", "resnet8"]
seeds = [0, 3]
axes = [
  [{ lr = 0.1 }, { lr = 1e-3 }],
  [
    {}, { init = "fan_in" }, { warmup = { lr = 0.01, until_train_error_pct = 80 } },
    { name = "short", warmup = { lr = 0.01, iters = 9 } },
  ],
]
"""
CLAIM = ('higher = "plain8"\nlower = "resnet8"', 'higher = "plain8-lr0.1"\nlower = "resnet8-lr0.1-fan_in"')
PANEL = ('runs = ["plain8", "resnet8"]', 'runs = ["resnet8-lr0.001", "*-fan_in"]')


def test_a_grid_is_the_runs_of_all_its_choices(toml: Callable[..., Path]) -> None:
    experiment = read_experiment(toml((RUNS, GRID), CLAIM, PANEL))
    names = [
        f"{arch}-{lr}{rest}"
        for arch in ("plain8", "resnet8")
        for lr in ("lr0.1", "lr0.001")
        for rest in ("", "-fan_in", "-warmup", "-short")
    ]
    assert experiment.run_names() == names and [run.seed for run in experiment.runs] == [0, 3] * 16
    *_, last, named = experiment.runs[::2]
    assert named.recipe == last.recipe.model_copy(update={"warmup": Warmup(lr=0.01, iters=9)})
    assert (last.arch, last.recipe.lr, last.recipe.init) == ("resnet8", 1e-3, "fan_out")
    assert last.recipe.warmup == Warmup(lr=0.01, until_train_error_pct=80)
    assert last.recipe.total_iters == 12  # the file's
    shown = experiment.figures[0].panel[0].runs
    assert shown == ("resnet8-lr0.001", *(name for name in names if name.endswith("fan_in")))


def test_a_figure_is_about_runs_that_patterns_stand_for(toml: Callable[..., Path]) -> None:
    about = ('name = "tiny"', 'name = "tiny"\nabout = ["plain8-lr0.1-fan_in", "resnet8-*-fan_in"]')
    (figure,) = find_experiment(str(toml((RUNS, GRID), CLAIM, PANEL, about))).figures
    assert figure.about == ("plain8-lr0.1-fan_in", "resnet8-lr0.1-fan_in", "resnet8-lr0.001-fan_in")


def test_a_net_of_other_code_names_its_runs_without_its_module(toml: Callable[..., Path]) -> None:
    grid = '[grid]\narch = ["my_nets.small:Net"]\naxes = [[{ lr = 0.1 }, { lr = 0.2 }]]\n'
    experiment = read_experiment(toml((RUNS, RUNS + grid)))
    assert experiment.run_names()[2:] == ["Net-lr0.1", "Net-lr0.2"]
    assert {run.arch for run in experiment.runs[3:]} == {"my_nets.small:Net"}


def test_a_grid_may_stand_beside_runs(toml: Callable[..., Path]) -> None:
    experiment = read_experiment(toml((RUNS, RUNS + GRID)))
    assert len(experiment.runs) == 3 + 32


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ((RUNS, ""), r"mine.toml: the key 'run' is missing$"),
        (("seeds = [0, 3]", "seed = [0]"), r"mine.toml: grid unknown key 'seed'; did you mean 'seeds'\?$"),
        (
            ("lr = 1e-3", "rl = 1e-3"),
            r"run 'plain8-rl0.001': recipe: unknown key 'rl'",
        ),
        (('"plain8", "resnet8"]\nseeds', '"plain9"]\nseeds'), r"run 'plain9-lr0.1': architecture 'plain9'"),
        (("iters = 9", "iters = 0"), r"run 'plain8-lr0.1-short': recipe: warmup iters: got 0"),
        (("iters = 9", "iters = 12"), r"run 'plain8-lr0.1-short': recipe: warmup: 12 iterations: expected fewer"),
        (
            (", iters = 9", ""),
            r"run 'plain8-lr0.1-short': recipe: warmup: expected either until_train_error_pct or iters",
        ),
        (("{ lr = 1e-3 }", "{ lr = 0.1 }"), r"run 'plain8-lr0.1' seed 0 is declared twice"),
        (('{ init = "fan_in" }', "{ lr = 0.3 }"), r"axes: 2 of them change 'lr'; expected each key in one axis"),
        (("seeds = [0, 3]", f"seeds = {[*range(700)]}"), r"axes: they make 11200 runs; expected at most 10000"),
        (('name = "tiny"', 'name = "tiny"\nkind = "gradients"'), r"panel 'both' has 5 runs; kind 'gradients' has one"),
        (('["resnet8-lr0.001", "*-fan_in"]', '["*-fan_out"]'), r"figure 'tiny': unknown run '\*-fan_out'"),
    ],
)
def test_a_mistake_is_one_line(toml: Callable[..., Path], change: tuple[str, str], expected: str) -> None:
    changes = [change] if change == (RUNS, "") else [(RUNS, GRID), CLAIM, PANEL, change]
    with pytest.raises(UserError, match=expected) as error:
        find_experiment(str(toml(*changes)))
    assert "\n" not in str(error.value)


def test_the_phase_diagram_has_five_seeds_of_each_cell_and_both_depths() -> None:
    experiment = find_experiment("phase-diagram")
    assert len(experiment.runs) == 5 * len(experiment.run_names()) == 420
    plain, residual = (panel.runs for panel in experiment.figures[0].panel)
    assert len(plain) == len(residual) == 42
    assert {name.partition("-")[2] for name in plain} == {name.partition("-")[2] for name in residual}
