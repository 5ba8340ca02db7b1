"""Measure a net when its training ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from resrepro.evaluation.batch_norm import num_mini_batches
from resrepro.evaluation.responses import Responses
from resrepro.evaluation.single_view import prediction_rows
from resrepro.results.records import Prediction, Response
from resrepro.training.loop import Training


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is measured when a run ends.

    Args:
        results: the errors that the record holds, in %, or `diverged_iter`.
        responses: of the layers (Fig. 7).
        predictions: for the test images.
    """

    results: dict[str, Any]
    responses: list[Response] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)


def measured(training: Training, check_stop: Callable[[], None]) -> Measured:
    """Measure the trained net.

    Args:
        check_stop: is called between mini-batches, and may raise to stop.
    """
    last, engine = training.points[-1], training.engine
    best = min(training.points, key=lambda p: p.shown_test_error_pct)
    with Responses(engine.net, engine.clean_view.num_here, engine.world) as responses:
        clean_train = engine.clean_train(check_stop)
    engine.test(check_stop)
    moving = engine.single_view.predictions()
    bn_averaged_pct = engine.test_bn_averaged(last.iteration, num_mini_batches(training.recipe), check_stop).error_pct
    errors = {
        "final_train_error_pct": last.train_error_pct,
        "final_test_error_pct": last.test_error_pct,
        "best_test_error_pct": best.shown_test_error_pct,
        "best_test_error_iter": best.iteration,
        "final_test_error_bn_reestimated_pct": bn_averaged_pct,
        "final_train_error_clean_pct": clean_train.error_pct,
    }
    predictions = prediction_rows(moving, engine.single_view.predictions())
    return Measured(results=errors, responses=responses.rows(), predictions=predictions)
