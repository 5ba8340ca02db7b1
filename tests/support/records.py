"""Curve points and records with made values."""

from __future__ import annotations

import json

from resrepro.results.records import CurvePoint, RunRecord
from support.recipes import tiny_run


def point(iteration: int, elapsed_s: float = 1.5, error: float = 50.0) -> CurvePoint:
    return CurvePoint(
        iteration=iteration, lr=0.1, train_loss=1 / 3, train_error_pct=error, test_loss=0.1, test_error_pct=error + 1,
        elapsed_s=elapsed_s,
    )  # fmt: skip


def record(run: object = None, **changes: object) -> RunRecord:
    run = run or tiny_run()
    values = {
        "status": "finished", "dataset": run.dataset, "name": run.name, "arch": run.arch, "seed": run.seed,
        "schedule_scale": 1.0, "recipe": json.loads(run.recipe.model_dump_json()), "num_parameters": 1,
        "num_multiply_adds": 2, "final_train_error_pct": 50.0, "final_test_error_pct": 51.0,
        "best_test_error_pct": 50.0, "best_test_error_iter": 10, "wall_time_s": 1.0, "device": "d",
        "precision": "fp32", "num_threads": 1, "kernels": "torch", "versions": {}, "commit": None, "finished_at": "now",
    }  # fmt: skip
    found = {**values, **changes}
    if found["recipe"].get("bn_average_batches"):  # the error that tables then show
        found.setdefault("final_test_error_bn_reestimated_pct", found["final_test_error_pct"])
    return RunRecord(**found)
