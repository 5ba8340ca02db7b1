"""List the finished runs: their errors, on what they were trained, and how their recipes differ from the paper's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean

from resrepro import results
from resrepro.config.architectures import architecture
from resrepro.config.presets import PRESETS
from resrepro.config.recipe import SWITCHES, Recipe
from resrepro.errors import UserError
from resrepro.results.records import RunRecord
from resrepro.results.tables import Table, mean_std

COLUMNS = (
    "run", "seeds", "training error (%)", "test error, BN moving (%)",
    "test error, BN averaged (%)", "best test error (%)",
    "rate divided at", "differs from the preset in", "device", "precision, kernels", "torch", "commit", "hours a seed",
    "finished",
)  # fmt: skip


def stored_records(results_dir: Path) -> tuple[dict[Path, RunRecord], list[str]]:
    """Read every finished or diverged run.

    Returns:
        The records by their folders below `results_dir`, and what is wrong with other runs, a line each.
    """
    records, problems = {}, []
    for files in results.stored_runs(results_dir):
        try:
            record = results.read_record(files)
            if record is not None:
                records[files.folder.relative_to(results_dir)] = record
                results.lacks_rows(files, record)
                results.check_files(files, record)
        except (UserError, OSError) as error:
            problems.append(str(error))
    return records, problems


def provenance(records: Iterable[RunRecord]) -> str:
    """Say in a line on what these runs were trained: each device, precision and commit once."""
    records = list(records)
    if not records:
        return ""
    commits = _once(f"`{short_commit(record)}`" for record in records)
    return f"{_once(r.device for r in records)}; {_once(r.precision for r in records)}; commit {commits}"


def short_commit(record: RunRecord) -> str:
    """Return the commit's first twelve digits, and `+changes` if the source was altered."""
    commit, plus, changes = (record.commit or "unknown").partition("+")
    return commit[:12] + plus + changes


def departures(record: RunRecord) -> str:
    """Say where the recorded recipe is not the preset of this kind of net, but for how often curves are recorded."""
    try:
        preset = PRESETS[architecture(record.arch).recipe_family(crops=record.recipe.get("scale_crop") is not None)]
    except UserError:
        return "unknown architecture"
    expected = Recipe(**preset).scaled(record.schedule_scale).model_dump(mode="json")
    found = [] if record.schedule_scale == 1 else [f"schedule × {record.schedule_scale:g}"]
    found += [f"starts from {record.start_from}"] * (record.start_from is not None)
    recipe = {**SWITCHES, **record.recipe}  # older records lack switches
    changed = {key: value for key, value in recipe.items() if value != expected.get(key)}
    changed.pop("curve_every_iters", None)
    return ", ".join([*found, *(f"{key} = {json.dumps(value)}" for key, value in changed.items())]) or "–"


def runs_table(stored: dict[Path, RunRecord]) -> Table:
    """Return a row for the seeds of a run that share everything else."""

    def key(item: tuple[Path, RunRecord]) -> tuple[str, ...]:
        folder, record = item
        torch, kind = record.versions.get("torch", "unknown"), f"{record.precision}, {record.kernels}"
        return folder.parent.as_posix(), departures(record), record.device, kind, torch, short_commit(record)

    rows = []
    for (place, departs, device, kind, torch, commit), group in groupby(sorted(stored.items(), key=key), key):
        seeds = sorted((record for _, record in group), key=lambda record: record.seed)
        rows.append(
            (
                place, ", ".join(f"{r.seed}" + (" (diverged)" if r.status == "diverged" else "") for r in seeds),
                _over([r.final_train_error_pct for r in seeds]), _over([r.final_test_error_pct for r in seeds]),
                _over([r.final_test_error_bn_reestimated_pct for r in seeds]),
                _over([r.best_test_error_pct for r in seeds]),
                "; ".join(dict.fromkeys(", ".join(map(str, r.lr_drop_iters or ())) for r in seeds)),
                departs, device, kind, torch, f"`{commit}`",
                f"{fmean(r.wall_time_s for r in seeds) / 3600:.2f}", max(r.finished_at for r in seeds)[:10],
            )
        )  # fmt: skip
    return Table(
        title="Every run that ended", columns=COLUMNS, rows=tuple(rows),
        notes=(
            "mean ± standard deviation over seeds; errors of the last iteration, and the best (never alone); "
            "hours: mean wall time of one seed, including the time of other runs at once",
        ) if rows else ("none yet: `resrepro run quickstart` trains the first in minutes",),
    )  # fmt: skip


def _over(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return mean_std(known) if known else "–"


def _once(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))
