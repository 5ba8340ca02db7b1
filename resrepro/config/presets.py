"""The paper's recipes by name: CIFAR's and ImageNet's, and each with the choices that most reproductions make."""

from __future__ import annotations

from typing import Any

from resrepro.config.recipe import IMAGENET_CROP

# Where the paper is silent: the choices nearest to its own curves (docs/recipe.md).
_BY_THE_CURVES: dict[str, Any] = {"decay": "weights", "fc_init": "gaussian", "bn_average_batches": 100}

_CIFAR: dict[str, Any] = {  # Sec. 4.2
    "total_iters": 64000,
    "batch_size": 128,
    "lr": 0.1,
    "lr_drop_iters": (32000, 48000),
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "crop_padding": 4,
}
_IMAGENET: dict[str, Any] = {  # Sec. 3.4; the drops are those of all four nets of Fig. 4
    "total_iters": 600000,
    "batch_size": 256,
    "lr": 0.1,
    "lr_drop_iters": (150000, 300000),
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "crop_padding": 0,
    "curve_every_iters": 5000,
    "bn_devices": 8,
    "scale_crop": IMAGENET_CROP.model_dump(),
}

PRESETS: dict[str, dict[str, Any]] = {
    "cifar": {**_CIFAR, "curve_every_iters": 1000, **_BY_THE_CURVES},
    "cifar-decay-all": {**_CIFAR, "curve_every_iters": 500},
    "imagenet": {**_IMAGENET, **_BY_THE_CURVES},
    "imagenet-decay-all": _IMAGENET,
}
