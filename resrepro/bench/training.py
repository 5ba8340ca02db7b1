"""`resrepro bench`: our training loop beside the one people write today, end to end, data included."""

from __future__ import annotations

import datetime
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from resrepro import results
from resrepro.bench.loops import NUM_WORKERS, RECIPE, Job
from resrepro.bench.processes import Timed, time_in_turns
from resrepro.bench.roofline import MachineRates, measure_rates
from resrepro.config.architectures import architecture
from resrepro.data.dataset import DataOptions
from resrepro.data.loading import differs_in_size, load_dataset
from resrepro.errors import UserError
from resrepro.files import write_text
from resrepro.models.complexity import Complexity, complexity
from resrepro.runtime.device import Compute, choose
from resrepro.training.memory import needed_bytes

ARCHITECTURES = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202")


def compare(
    archs: list[str],
    *,
    runs_at_once: tuple[int, ...],
    dataset: str,
    data_dir: Path,
    results_dir: Path,
    device: str,
    precision: str,
    rounds: int,
    seconds: float,
    console: Console,
) -> None:
    """Time both loops on each architecture, ours also with several runs at once; print a table, write JSON.

    Rows of architectures, or of another dataset, that are not timed now stay in the JSON.

    Raises:
        UserError: unknown architecture, no data, a device or precision that is not there, a loop that ended early.
    """
    _check(archs, dataset)
    images = load_dataset(dataset, DataOptions(data_dir=data_dir)).images
    compute = choose(device, precision)
    rates = measure_rates(compute)
    console.print(
        f"{compute.name}, {torch.get_num_threads()} threads, torch {torch.__version__}, {compute.precision}; matrix "
        f"product {rates.matmul_flops / 1e12:.2f} TFLOP/s, copy {rates.copy_bytes / 1e9:.0f} GB/s",
        soft_wrap=True,
    )
    rows = []
    for arch in archs:
        counts = complexity(arch, num_classes=images.num_classes, image_size=images.size)
        jobs = [
            Job(loop=loop, arch=arch, runs=runs, images=images, device=device, precision=precision, seconds=seconds)
            for loop, runs in [
                ("standard", 1),
                *(("resrepro", runs) for runs in _possible(runs_at_once, counts, compute)),
            ]
        ]
        console.print(f"{arch}: {len(jobs)} processes in turns ...")
        timed = time_in_turns(
            jobs,
            rounds,
            lambda t: console.print(f"  {_loop(t.job.loop, t.job.runs)}: started in {t.ready.start_s:.0f} s"),
        )
        rows += [{"dataset": dataset, **row} for row in _rows(timed, counts, rates, compute)]
    console.print(_table(rows))
    console.print(
        f"images/s: median of {rounds} rounds, all runs together; ms: of one mini-batch of "
        f"{RECIPE.batch_size}; xN: N runs at once; whole run: {RECIPE.total_iters} iterations and all evaluations; "
        "start: to the end of the first iteration; floors: ms for the operations at the matrix product's rate, and "
        "for the bytes at the copy's. standard: torchvision transforms, DataLoader with "
        f"{NUM_WORKERS} workers (their memory not counted), eager fp32 (CUDA: TF32 convolutions), contiguous.",
        soft_wrap=True,
    )
    path = results.bench_file(results_dir, compute.name, compute.precision)
    _write(path, rows, rates, compute)
    console.print(path, soft_wrap=True)


def _check(archs: list[str], dataset: str) -> None:
    for arch in archs:
        architecture(arch)
    if differs_in_size(dataset):
        raise UserError(f"--dataset {dataset}: its images differ in size; take: resrepro bench imagenet")


def _possible(runs_at_once: tuple[int, ...], counts: Complexity, compute: Compute) -> list[int]:
    """Without those that the memory does not hold, or that a CPU has no cores for."""
    free = compute.free_bytes()
    need = needed_bytes(counts, RECIPE, compute, activation_checkpointing=False)
    cores = torch.get_num_threads() if compute.device.type == "cpu" else max(runs_at_once)
    return [n for n in runs_at_once if n == 1 or (n <= cores and (free is None or 2 * n * need <= free))]


def _rows(timed: list[Timed], counts: Complexity, rates: MachineRates, compute: Compute) -> list[dict[str, Any]]:
    batch = RECIPE.batch_size
    rows: list[dict[str, Any]] = []
    for t in timed:
        speeds = [batch * r.iterations_per_s for r in t.rounds]
        median = statistics.median(speeds)
        ours = t.job.loop == "resrepro"
        operations_s, bytes_s = rates.roofline_s(counts, batch, compute.precision)
        whole_s = RECIPE.total_iters * batch / median + t.ready.evaluations_s / t.job.runs
        rows.append(
            {
                "architecture": t.job.arch,
                "loop": t.job.loop,
                "runs_at_once": t.job.runs,
                "precision": compute.precision if ours else "fp32",
                "ms_per_iteration": 1e3 * batch / median,
                "images_per_s": median,
                "images_per_s_range": [min(speeds), max(speeds)],
                "times_standard": median / (rows[0]["images_per_s"] if rows else median),
                "whole_run_s": whole_s if ours else None,
                "start_s": t.ready.start_s,
                "peak_mib": max(r.peak_mib for r in t.rounds),
                "floor_operations_ms": 1e3 * operations_s if ours else None,
                "floor_bytes_ms": 1e3 * bytes_s if ours else None,
            }
        )
    return rows


def _table(rows: list[dict[str, Any]]) -> Table:
    columns = ("net", "loop", "ms", "images/s", "ratio", "whole run", "start (s)", "memory (GiB)", "floors (ms)")
    table = Table(*columns, box=None, header_style="bold")
    for column in table.columns[:3]:
        column.no_wrap = True
    for row in rows:
        ours = row["whole_run_s"] is not None
        table.add_row(
            row["architecture"],
            _loop(row["loop"], row["runs_at_once"]),
            _three_digits(row["ms_per_iteration"]),
            f"{row['images_per_s']:.0f}",
            f"{row['times_standard']:.2f}",
            _duration(row["whole_run_s"]) if ours else "",
            f"{row['start_s']:.0f}",
            f"{row['peak_mib'] / 1024:.1f}",
            f"{_three_digits(row['floor_operations_ms'])}, {_three_digits(row['floor_bytes_ms'])}" if ours else "",
        )
    return table


def _loop(name: str, runs: int) -> str:
    return name if runs == 1 else f"{name} x{runs}"


def _three_digits(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.1f} min"


def _write(path: Path, rows: list[dict[str, Any]], rates: MachineRates, compute: Compute) -> None:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    machine = {
        "measured_at": now,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "matmul_flops": rates.matmul_flops,
        "copy_bytes_per_s": rates.copy_bytes,
    }
    timed = {_what(row) for row in rows}
    before = [row for row in _read(path) if _what(row) not in timed]
    content = {"device": compute.name, "rows": [*before, *({**row, **machine} for row in rows)]}
    write_text(path, json.dumps(content, indent=1) + "\n")


def _what(row: dict[str, Any]) -> tuple[str, str]:
    """Return what a row times; older files lack the dataset."""
    return row["architecture"], row.get("dataset", "cifar10")


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"]
    except (OSError, ValueError, KeyError, TypeError):  # absent, or damaged: measured anew
        return []
    return rows
