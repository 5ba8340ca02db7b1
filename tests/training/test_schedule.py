from __future__ import annotations

import pytest

from resrepro.config.recipe import Plateau, Recipe, Warmup
from resrepro.results.records import CurvePoint
from resrepro.training.schedule import drop_due, gate_opens, learning_rate
from support.recipes import paper_recipe


def rate_at(recipe: Recipe, iteration: int) -> float:
    drops: list[int] = []
    while (drop := drop_due(recipe, iteration, drops, [])) is not None:
        drops.append(drop)
    return learning_rate(recipe, len(drops), warmup_open=False)


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [(0, 0.1), (31999, 0.1), (32000, 0.01), (32001, 0.01), (47999, 0.01), (48000, 0.001), (63999, 0.001)],
)
def test_rate_at_each_boundary(iteration: int, rate: float) -> None:
    assert rate_at(paper_recipe(), iteration) == pytest.approx(rate, rel=1e-12)


def test_warmup_rate_until_the_gate_opens_then_the_base_rate() -> None:
    recipe = paper_recipe(warmup=Warmup(lr=0.01, until_train_error_pct=80))
    assert learning_rate(recipe, 0, warmup_open=False) == 0.01
    assert learning_rate(recipe, 0, warmup_open=True) == 0.1
    assert recipe.warmup and not gate_opens(recipe.warmup, 80.0)
    assert gate_opens(recipe.warmup, 79.99)
    assert not gate_opens(Warmup(lr=0.01, iters=400), 10.0)


def falling(*errors_pct: float) -> list[CurvePoint]:
    """Training errors every 10 iterations."""
    return [
        CurvePoint(
            iteration=10 * i, lr=0.1, train_loss=1, train_error_pct=e, test_loss=1, test_error_pct=50, elapsed_s=0
        )
        for i, e in enumerate(errors_pct, 1)
    ]


PLATEAU = paper_recipe(total_iters=1000, lr_drop_iters=(500, 800), plateau=Plateau(patience_iters=20, min_fall_pct=0.5))


@pytest.mark.parametrize(
    ("errors_pct", "due"),
    [
        ([60, 50, 40, 39.4], None),  # falls by 0.6 points in 20 iterations
        ([60, 50, 40, 39.6, 39.55], 50),  # by 0.45 points
        ([60, 50, 40, 41, 39.4], None),
        ([40, 45, 44], 30),
        ([40, 45], None),  # 20 iterations are not over
        ([], None),
    ],
)
def test_the_rate_is_divided_where_the_training_error_stops_to_fall(errors_pct: list[float], due: int | None) -> None:
    assert drop_due(PLATEAU, 10 * len(errors_pct), [], falling(*errors_pct)) == due
    assert drop_due(PLATEAU.model_copy(update={"plateau": None}), 50, [], falling(*errors_pct)) is None


def test_patience_is_counted_anew_from_each_division_and_the_given_iterations_are_the_latest() -> None:
    flat = falling(*[40] * 10)
    assert drop_due(PLATEAU, 100, [], flat) == 100
    assert drop_due(PLATEAU, 100, [80], flat) is None and drop_due(PLATEAU, 110, [80], falling(*[40] * 11)) == 110
    assert drop_due(PLATEAU, 500, [], falling(*range(99, 49, -1))) == 500
    assert drop_due(PLATEAU, 500, [100], falling(*range(99, 49, -1))) is None
    assert drop_due(PLATEAU, 900, [100, 300], flat) is None  # both are used up


def test_a_shortened_schedule_shortens_the_patience() -> None:
    assert PLATEAU.scaled(0.5).plateau == Plateau(patience_iters=10, min_fall_pct=0.5)
