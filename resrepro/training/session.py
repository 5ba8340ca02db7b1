"""One run in this process: resume, train, checkpoint, the last measurements, the record."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, Protocol

from resrepro.config.run import Run
from resrepro.evaluation.batch_norm import NUM_MINI_BATCHES
from resrepro.evaluation.responses import Responses
from resrepro.models.complexity import Complexity
from resrepro.results.records import CurvePoint, Response, RunRecord
from resrepro.runtime import versions
from resrepro.training.loop import Training

CHECKPOINT_EVERY_S = 60.0  # and at every curve point, and when stopped


AGREE_EVERY_ITERS = 10  # processes ask each other so often whether one was told to stop


class Reporter(Protocol):
    """Shows what happens; the terminal's is in `progress`."""

    def preparing(self, what: str, done: int, total: int) -> None: ...
    def started(self, run: Run, training: Training) -> None: ...
    def advanced(self, run: Run, training: Training, point: CurvePoint | None) -> None: ...
    def ended(self, run: Run, record: RunRecord | None, note: str) -> None: ...


def measured(training: Training, check_stop: Callable[[], None]) -> tuple[list[Response], dict[str, Any]]:
    """The layers' responses, and the errors for the record.

    Args:
        check_stop: is called between mini-batches, for this is long for a deep net.
    """
    last, engine = training.points[-1], training.engine
    best = min(training.points, key=lambda p: p.test_error_pct)
    with Responses(engine.net, engine.clean_view.num_here, engine.world) as responses:
        clean_train = engine.clean_train(check_stop)
    return responses.rows(), {
        "final_train_error_pct": last.train_error_pct,
        "final_test_error_pct": last.test_error_pct,
        "best_test_error_pct": best.test_error_pct,
        "best_test_error_iter": best.iteration,
        "final_test_error_bn_reestimated_pct": last.test_error_bn_averaged_pct
        if last.test_error_bn_averaged_pct is not None
        else engine.test_bn_averaged(last.iteration, NUM_MINI_BATCHES, check_stop).error_pct,
        "final_train_error_clean_pct": clean_train.error_pct,
    }


def make_record(run: Run, training: Training, counts: Complexity, **outcome: Any) -> RunRecord:
    """What `run.json` says, now.

    Args:
        outcome: `measured`, or `diverged_iter`.
    """
    engine = training.engine
    *earlier, now = training.sessions
    return RunRecord(
        status="diverged" if "diverged_iter" in outcome else "finished",
        dataset=run.dataset,
        name=run.name,
        arch=run.arch,
        seed=run.seed,
        schedule_scale=run.schedule_scale,
        start_from=run.start_from.name if run.start_from else None,
        recipe=run.recipe.model_dump(mode="json"),
        num_parameters=counts.num_parameters,
        num_multiply_adds=counts.num_multiply_adds,
        warmup_opened_iter=training.warmup_opened_iter,
        lr_drop_iters=tuple(training.drops),
        wall_time_s=round(training.elapsed_s, 1),
        device=now.device,
        precision=engine.compute.precision,
        kernels=engine.kernels,
        num_threads=now.num_threads,
        num_processes=now.num_processes,
        earlier=tuple(earlier),
        images=engine.batches.fingerprint,
        versions=versions.versions(),
        commit=versions.commit(),
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **outcome,
    )
