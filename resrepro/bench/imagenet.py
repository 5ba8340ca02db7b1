"""From image files to trained mini-batches: what each part of the way gives, and which one bounds."""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from resrepro import results
from resrepro.bench.loaders import loader_rates
from resrepro.config.presets import PRESETS
from resrepro.config.recipe import Recipe
from resrepro.data.dataset import DataOptions, TrainingViews
from resrepro.data.image_files.pipeline import ImageFilePipeline
from resrepro.data.loading import load_dataset
from resrepro.files import write_text
from resrepro.models import build
from resrepro.runtime.device import Compute, device_errors
from resrepro.training.step import Engine

NETS = ("resnet34-A", "resnet50")


def measure(
    archs: list[str],
    *,
    dataset: str,
    image_size: int | None,
    data_dir: Path,
    results_dir: Path,
    compute: Compute,
    num_workers: int,
    seconds: float,
    console: Console,
) -> None:
    """Measure images per second, print them, and write them as JSON.

    Args:
        image_size: side of the crop, pixels; None: the paper's 224.
        num_workers: threads that decode.
        seconds: duration of each measurement, at least.

    Raises:
        UserError: the dataset is missing, an architecture is unknown, or the crop does not fit.
    """
    recipe = Recipe.model_validate(PRESETS["imagenet"])
    recipe = recipe if image_size is None else recipe.with_image_size(image_size)
    assert recipe.scale_crop is not None
    crop = recipe.scale_crop
    options = DataOptions(data_dir=data_dir, device=compute.device, num_workers=num_workers)
    folder = load_dataset(dataset, options, as_files=True, shorter_side=recipe.largest_side).folder
    console.print(
        f"{compute.name}, {torch.get_num_threads()} threads, {num_workers} of them decode, torch {torch.__version__}, "
        f"{compute.precision}; {dataset}, crops of {crop.size} pixels",
        soft_wrap=True,
    )
    rates = loader_rates(folder, crop, options, seconds=seconds)
    _print_loader(rates, console)
    batches = ImageFilePipeline(folder, crop, torch.zeros(crop.size, crop.size, 3), options)
    rows = [_net_rates(arch, len(folder.classes), batches, recipe, compute, seconds, rates["loader"]) for arch in archs]
    _print_nets(rows, recipe, console)
    path = results.bench_file(results_dir, compute.name, compute.precision, "imagenet")
    found = {"dataset": dataset, "image_size": crop.size, "num_workers": num_workers, "loader_images_per_s": rates}
    _write(path, compute, {**found, "nets": rows})
    console.print(path, soft_wrap=True)


def _net_rates(
    arch: str,
    num_classes: int,
    batches: ImageFilePipeline,
    recipe: Recipe,
    compute: Compute,
    seconds: float,
    loader_rate: float,
) -> dict[str, Any]:
    """Return how fast one net trains, images per second: the step alone and with the loader."""
    with device_errors(compute, f"bench {arch}"), compute.stream():
        net = build(arch, num_classes=num_classes, seed=0)
        engine = Engine(net, batches, recipe, seed=0, compute=compute)
        end_to_end = _rate(engine, seconds)
        engine.views = _Held(engine.views)
        step = _rate(engine, seconds)
    return {
        "architecture": arch,
        "step_images_per_s": step,
        "end_to_end_images_per_s": end_to_end,
        "bound_by": "step" if step <= loader_rate else "loader",
        "share_of_bound": end_to_end / min(step, loader_rate),
    }


def _print_loader(rates: dict[str, float], console: Console) -> None:
    console.print(
        f"images/s: decode {rates['decode']:.0f} a thread, with resize and crop {rates['view']:.0f}; augmentation on "
        f"the device {rates['augment']:.0f}; loader {rates['loader']:.0f}, the standard one {rates['standard']:.0f} "
        f"({rates['loader'] / rates['standard']:.1f} times)",
        soft_wrap=True,
    )


def _print_nets(rows: list[dict[str, Any]], recipe: Recipe, console: Console) -> None:
    table = Table("net", "step alone", "end to end", "bound by", "of the bound", box=None, header_style="bold")
    for row in rows:
        table.add_row(
            row["architecture"], f"{row['step_images_per_s']:.0f}", f"{row['end_to_end_images_per_s']:.0f}",
            row["bound_by"], f"{100 * row['share_of_bound']:.0f} %",
        )  # fmt: skip
    console.print(table)
    console.print(f"images/s, mini-batches of {recipe.batch_size}, BN in {recipe.bn_devices} parts", soft_wrap=True)


def _write(path: Path, compute: Compute, found: dict[str, Any]) -> None:
    machine = {
        "device": compute.name,
        "measured_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "torch": torch.__version__,
        "precision": compute.precision,
    }
    write_text(path, json.dumps({**machine, **found}, indent=1) + "\n")


class _Held:
    """Gives the mini-batch that was loaded last again and again."""

    def __init__(self, views: TrainingViews) -> None:
        self.at = views.at

    def load(self, _iteration: int) -> None: ...


def _rate(engine: Engine, seconds: float) -> float:
    """Return the images per second of training, measured after two mini-batches."""
    done, first = 0, 2
    start = time.perf_counter()
    while done <= first or time.perf_counter() - start < seconds:
        if done == first:
            start = time.perf_counter()
        engine.step(done, engine.recipe.lr)
        engine.totals()  # waits for the device
        done += 1
    return (done - first) * engine.recipe.batch_size / (time.perf_counter() - start)
