"""Small trainings, and what they end with."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resrepro import results
from resrepro.config.recipe import Recipe
from resrepro.config.run import Run
from resrepro.data.in_memory.images import Images
from resrepro.data.in_memory.pipeline import InMemoryPipeline
from resrepro.models import build
from resrepro.models.saved import read_saved
from resrepro.runtime.device import Compute, choose
from resrepro.training.execution import FASTEST, Execution
from resrepro.training.loop import Training
from resrepro.training.runner import Runner
from resrepro.training.step import Engine
from support.recipes import tiny_recipe
from support.reporters import Silent


def training(
    images: Images,
    compute: Compute,
    recipe: Recipe | None = None,
    arch: str = "resnet8",
    execution: Execution = FASTEST,
) -> Training:
    recipe = recipe or tiny_recipe()
    engine = Engine(
        build(arch, num_classes=images.num_classes, seed=0, recipe=recipe),
        InMemoryPipeline(images, padding=recipe.crop_padding, device=compute.device),
        recipe,
        seed=0,
        compute=compute,
        execution=execution,
    )
    return Training(recipe, engine)


class AsOnCuda(Compute):
    """A CPU that is taken for a GPU."""

    def autocast(self) -> AbstractContextManager[object]:
        return nullcontext()


def weights(t: Training) -> dict[str, Any]:
    return {k: v.clone() for k, v in t.engine.net.state_dict().items()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def runner(results_dir: Path, reporter: Silent | None = None, precision: str = "fp32") -> Runner:
    compute = choose("cpu", precision)
    return Runner(results_dir=results_dir, data_dir=results_dir, compute=compute, reporter=reporter or Silent())


def rows(results_dir: Path, run: Run) -> list[dict[str, Any]]:
    points = results.read_points(results.run_files(results_dir, run))
    return [p.model_dump(exclude={"elapsed_s"}) for p in points]


class Killed(BaseException):
    """Stands for kill -9: no handler of ours runs."""


def state(results_dir: Path, run: Run) -> dict[str, Any]:
    model = read_saved(results_dir / run.path / "checkpoint.pt")["engine"]["model"]
    return {key: value.tolist() for key, value in model.items()}


SWITCHED = {"bn_devices": 2, "decay": "weights", "momentum_form": "caffe", "bn_average_batches": 2}


def cifar_like() -> Images:
    draw = np.random.default_rng(0)

    def part(n: int) -> tuple[Any, Any]:
        return draw.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), draw.integers(0, 10, n)

    return Images.from_numpy(*part(1000), *part(300), num_classes=10)


PAPER = {"batch_size": 128, "lr": 0.1, "crop_padding": 4, "lr_drop_iters": (18,), "total_iters": 24}


def moments(t: Training) -> list[tuple[int, str]]:
    return list(dict.fromkeys((row.iteration, row.moment) for row in t.norms))
