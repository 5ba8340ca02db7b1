"""Small recipes and runs."""

from __future__ import annotations

from typing import Any

from resrepro.config.presets import PRESETS
from resrepro.config.recipe import Recipe
from resrepro.config.run import Run
from resrepro.config.toml_files import read_recipe

TINY = {
    "total_iters": 12,
    "batch_size": 8,
    "lr": 0.05,
    "lr_drop_iters": (6, 9),
    "curve_every_iters": 5,
    "crop_padding": 2,
}


def tiny_recipe(**changes: Any) -> Recipe:
    return read_recipe({"preset": "cifar-decay-all", **TINY, **changes}, "test")


def tiny_run(arch: str = "resnet8", seed: int = 0, **changes: Any) -> Run:
    return Run(dataset="shapes", name=arch, arch=arch, recipe=tiny_recipe(**changes), seed=seed, label=arch)


def paper_recipe(**changes: Any) -> Recipe:
    return Recipe(**{**PRESETS["cifar"], **changes})
