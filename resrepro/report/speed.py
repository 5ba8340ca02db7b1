"""Show what `resrepro bench` measured on each device."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict, ValidationError

from resrepro import results
from resrepro.config.strict import StrictModel, first_mistake
from resrepro.results.tables import Table

COLUMNS = (
    "device",
    "net",
    "dataset",
    "loop",
    "runs at once",
    "precision",
    "images/s",
    "times the standard loop",
    "measured",
)


class _Speed(StrictModel):
    """Holds what the table shows of one measurement."""

    model_config = ConfigDict(extra="ignore")

    architecture: str
    dataset: str = "cifar10"  # of older files
    loop: str
    runs_at_once: int
    precision: str
    images_per_s: float
    times_standard: float
    measured_at: str


class _Bench(StrictModel):
    device: str
    rows: tuple[_Speed, ...]


def speed_table(results_dir: Path, problems: list[str]) -> Table:
    """Return one row per measurement; `problems` gets a line about each file that cannot be read."""
    rows: list[tuple[str, ...]] = []
    for path in results.bench_files(results_dir):
        try:
            bench = _Bench.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            what = first_mistake(error) if isinstance(error, ValidationError) else error
            problems.append(f"{path}: not what 'resrepro bench' writes ({what}); measure again")
            continue
        rows += [_row(bench.device, speed) for speed in bench.rows]
    notes = ("standard: the usual PyTorch loop, measured in turns with ours",)
    return Table(
        title="Training speed", columns=COLUMNS, rows=tuple(rows),
        notes=notes if rows else ("not measured: `resrepro bench`",),
    )  # fmt: skip


def _row(device: str, speed: _Speed) -> tuple[str, ...]:
    return (
        device, speed.architecture, speed.dataset, speed.loop, str(speed.runs_at_once), speed.precision,
        f"{speed.images_per_s:.0f}", f"{speed.times_standard:.2f}", speed.measured_at[:10],
    )  # fmt: skip
