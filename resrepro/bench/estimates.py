"""Estimate how long runs take here: from finished runs on such a device, or from ten seconds of training."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from resrepro import results
from resrepro.config.architectures import counted_nets
from resrepro.config.datasets import SIZES
from resrepro.config.recipe import ScaleCrop
from resrepro.config.run import Run
from resrepro.data.in_memory import shapes
from resrepro.data.in_memory.images import Images
from resrepro.data.in_memory.pipeline import InMemoryPipeline
from resrepro.errors import UserError
from resrepro.evaluation.batch_norm import num_mini_batches
from resrepro.models import build
from resrepro.models.complexity import complexity
from resrepro.results.same_run import recorded_run
from resrepro.results.status import run_status
from resrepro.runtime.device import Compute
from resrepro.training.step import Engine

CALIBRATION_S = 10.0
MIN_ITERS = 500  # of a run whose time counts: the start, and the tests, take most of a shorter one
FORWARD = 1 / 3  # of the time of a training step on as many images
SIDES = {"cifar10": 32, "cifar100": 32, "shapes": shapes.SIZE, "tiny-imagenet": 64}  # of images in memory, pixels
TESTS = 1.1  # where the number of images is not known, a tenth of the training's time goes to the tests

_View = tuple[str, ScaleCrop | None, int | None]  # dataset, and size of the images: what a net's rate depends on


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Say what is left to train of one run.

    Args:
        seconds: how long that takes here; None: not known.
        how: what the time is estimated from.
    """

    run: Run
    iters_left: int
    seconds: float | None
    how: str


def estimates(
    missing: Sequence[Run], results_dir: Path, compute: Compute, without: Collection[Run] = ()
) -> list[Estimate]:
    """Estimate how long each run takes: from finished runs on such a device, or from a calibration.

    Args:
        without: runs that cannot be trained, and so take no time that is known.
    """
    stored = _stored_rates(results_dir, compute)
    calibrated: dict[_View, float | None] = {}
    plans = []
    for run in missing:
        iteration = max(run.first_iter, run_status(results_dir, run).iteration)
        left = run.recipe.total_iters - iteration
        if run in without:
            plans.append(Estimate(run=run, iters_left=left, seconds=None, how="not, for what cannot be trained"))
            continue
        work = _work(run, iteration, to_the_end=True)
        view = _view(run)
        rates = stored.get((view, run.arch)) or stored.get((view, ""))
        if rates:
            of = f"of {run.arch}" if (view, run.arch) in stored else "of other nets, by multiply-adds"
            how = f"by the rate of finished runs {of}, on {compute.name}"
            plans.append(Estimate(run=run, iters_left=left, seconds=work * median(rates), how=how))
            continue
        if view not in calibrated:
            calibrated[view] = calibrate(run, compute)
        rate = calibrated[view]
        how = f"by {CALIBRATION_S:g} seconds of training, and multiply-adds" if rate else "not, for image files"
        plans.append(Estimate(run=run, iters_left=left, seconds=rate and work * rate, how=how))
    return plans


def _view(run: Run) -> _View:
    return run.dataset, run.recipe.scale_crop, run.recipe.resize


def _work(run: Run, first: int, *, to_the_end: bool) -> float:
    """Return the multiply-adds of training from an iteration on, tests included: those of training, or as long.

    Args:
        to_the_end: whether the last measurements count, too.
    """
    recipe, sizes = run.recipe, SIZES.get(run.dataset)
    num_images = float((recipe.total_iters - first) * recipe.batch_size)
    if sizes is None:
        return TESTS * num_images * _multiply_adds(run.arch)
    averaged = (recipe.bn_average_batches or 0) * recipe.batch_size
    num_points = -(-recipe.total_iters // recipe.curve_every_iters) - first // recipe.curve_every_iters
    num_tested = num_points * (sizes.num_test + (averaged and averaged + sizes.num_test))
    if to_the_end:
        at_end = num_mini_batches(recipe) * recipe.batch_size
        num_tested += (recipe.train_images or sizes.num_train) + at_end + 2 * sizes.num_test
    return (num_images + FORWARD * num_tested) * _multiply_adds(run.arch)


def _multiply_adds(arch: str) -> int:
    """Return the multiply-adds for an image of the paper's size: of runs with one view only the ratio counts."""
    if arch in counted_nets():
        return counted_nets()[arch].num_multiply_adds
    return complexity(arch).num_multiply_adds


def _stored_rates(results_dir: Path, compute: Compute) -> dict[tuple[_View, str], list[float]]:
    """Return the seconds per multiply-add of finished runs: by view and architecture, and of all (``""``)."""
    here = compute.name, compute.precision, torch.get_num_threads()
    found: dict[tuple[_View, str], list[float]] = {}
    for files in results.stored_runs(results_dir):
        try:
            record = results.read_record(files)
            if record is None or record.status != "finished" or record.start_from or record.num_processes > 1:
                continue
            if (record.device, record.precision, record.num_threads) != here or record.earlier:
                continue
            points = results.read_points(files)
            if not points or points[-1].iteration < MIN_ITERS:
                continue
            last = points[-1]  # whose time is without the measurements at the end
            run = recorded_run(record)
            rate = last.elapsed_s / _work(run, 0, to_the_end=False)
        except UserError:  # a damaged record, or a net of other code that is not here
            continue
        for arch in (run.arch, ""):
            found.setdefault((_view(run), arch), []).append(rate)
    return found


def calibrate(run: Run, compute: Compute) -> float | None:
    """Train the run's net for `CALIBRATION_S` on noise; None where it is trained on image files.

    Returns:
        Seconds per multiply-add (of an image of the paper's size).
    """
    side = run.recipe.resize or SIDES.get(run.dataset)
    if run.recipe.scale_crop is not None or side is None:  # images from files, or of a size that is not known
        return None
    batch = run.recipe.batch_size
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 256, (2 * batch, side, side, 3), dtype=np.uint8), draw.integers(0, 10, 2 * batch)
    with compute.stream():
        pipeline = InMemoryPipeline(
            Images.from_numpy(*noise, *noise, num_classes=10), padding=run.recipe.crop_padding, device=compute.device
        )
        recipe = run.recipe.model_copy(update={"train_images": None})
        net = build(run.arch, num_classes=10, seed=0, recipe=recipe)
        engine = Engine(net, pipeline, recipe, seed=0, compute=compute)
        engine.step(0, recipe.lr)  # the first takes longer
        engine.totals()  # waits
        start, seconds, num_iters = time.perf_counter(), 0.0, 0
        while seconds < CALIBRATION_S:
            num_iters += 1
            engine.step(num_iters, recipe.lr)
            engine.totals()
            seconds = time.perf_counter() - start
    return seconds / (num_iters * batch * _multiply_adds(run.arch))
