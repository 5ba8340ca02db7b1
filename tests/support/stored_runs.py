"""Results folders as finished runs leave them, without any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resrepro import results
from resrepro.config.run import Run, Variation
from resrepro.config.toml_files import find_experiment, shipped_runs
from resrepro.report.tables import TABLES
from resrepro.results import csv_rows
from resrepro.results.csv_rows import write_rows
from resrepro.results.records import CurvePoint, LayerNorms, Response
from support.recipes import tiny_recipe
from support.records import record


def store_errors(results_dir: Path, dataset: str, arch: str, errors: list[float | None]) -> None:
    """Finished seeds 0, 1, ... with these test errors; None: diverged."""
    run: Run = shipped_runs(dataset)[arch][0][1]
    for seed, error in enumerate(errors):
        seeded = run.model_copy(update={"seed": seed})
        if error is None:
            ends = {"status": "diverged", "diverged_iter": 7, "final_test_error_pct": None}
        else:
            ends = {"final_test_error_bn_reestimated_pct": error, "final_test_error_pct": error + 0.25}
        results.write_record(results.run_files(results_dir, seeded), record(seeded, **ends))


def store_curve(results_dir: Path, name: str, error: float, scale: float = 1.0) -> None:
    for run in find_experiment(experiment_of(name)).variant(Variation(schedule_scale=scale)).runs:
        if run.name == name:
            files = results.run_files(results_dir, run)
            point = CurvePoint(
                iteration=run.recipe.total_iters, lr=0.001, train_loss=1.0, train_error_pct=error - 5,
                test_loss=1.0, test_error_pct=error + run.seed / 10, elapsed_s=1.0,
            )  # fmt: skip
            write_rows(files.curves, CurvePoint, [point])
            values = {"final_test_error_pct": point.test_error_pct, "schedule_scale": scale}
            results.write_record(files, record(run, **values))


def experiment_of(run: str) -> str:
    if run in ("resnext29-8x64d", "resnet110-300epochs"):
        return "resnext"
    return "cifar-resnet" if run.startswith("resnet") else "cifar-plain"


def table_rows(number: int, results_dir: Path) -> dict[str, dict[str, str]]:
    """The table's rows by their first cell (Table 6: by method and layers)."""
    table = TABLES[number](results_dir)
    assert all(len(row) == len(table.columns) == len(set(table.columns)) for row in table.rows)
    named = {(" ".join(row[:2]).strip() if number == 6 else row[0]): row for row in table.rows}
    return {name: dict(zip(table.columns, row, strict=True)) for name, row in named.items()}


RECIPE = tiny_recipe()


def run_of(arch: str, name: str | None = None, seed: int = 0, start_from: Run | None = None) -> Run:
    name = name or arch
    return Run(dataset="shapes", name=name, arch=arch, recipe=RECIPE, seed=seed, label=name, start_from=start_from)


def stored(results_dir: Path, run: Run, **values: object) -> results.RunFiles:
    """A finished run's folder, as far as the analyses go."""
    files = results.run_files(results_dir, run)
    source = run.start_from.name if run.start_from else None
    results.write_record(files, record(run, **{"start_from": source, "final_train_error_clean_pct": 40.0, **values}))
    return files


def write_responses(files: results.RunFiles, stds: list[float]) -> None:
    found = [Response(layer=i, name=f"conv{i}", std=std, num_images=10) for i, std in enumerate(stds, 1)]
    csv_rows.write_rows(files.responses, Response, found)


def write_norms(files: results.RunFiles, norms: dict[tuple[int, str], list[float]]) -> None:
    names = ["conv1", *(f"layer{s}.0.conv{i}" for s in (1, 2, 3) for i in (1, 2)), "fc"]
    found = [
        LayerNorms(iteration=i, moment=moment, layer=n, name=name, gradient_norm=norm, weight_norm=2 * norm)
        for (i, moment), values in norms.items()
        for n, (name, norm) in enumerate(zip(names, values, strict=True), 1)
    ]
    csv_rows.write_rows(files.gradients, LayerNorms, found)


def finish(
    results_dir: Path, name: str, errors: list[float | None], *, train: float = 1.0, experiment: str = "cifar-resnet"
) -> None:
    """Finished seeds 0, 1, ... of a run with these test errors; None: diverged."""
    run = next(run for run in find_experiment(experiment).runs if run.name == name)
    for seed, error in enumerate(errors):
        seeded = run.replace(seed=seed)
        ends: dict[str, Any] = {"final_test_error_pct": error, "final_train_error_pct": train}
        if error is None:
            ends |= {"status": "diverged", "diverged_iter": 7, "final_train_error_pct": None}
        source = run.start_from and run.start_from.name
        results.write_record(files_of(results_dir, seeded), record(seeded, start_from=source, **ends))


def files_of(results_dir: Path, run: Run) -> results.RunFiles:
    return results.run_files(results_dir, run)
