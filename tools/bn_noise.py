"""Tests trained nets in training mode, with BN on whole mini-batches of 128 images and on parts of them.

    python tools/bn_noise.py cifar10/resnet20 cifar10/plain20 cifar10/plain56 [--data-dir DIR]

The images are augmented training images, the same for all parts and nets. Prints a row of docs/recipe-log.md for each
net: the error (%) with BN on all images, and by how much it is higher with parts, with its standard error.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean, stdev

import torch

from resrepro.config.presets import PRESETS
from resrepro.config.recipe import Recipe
from resrepro.data.dataset import DataOptions
from resrepro.data.loading import load_for
from resrepro.models.weights import read_net

NUM_MINI_BATCHES = 50
PARTS = (128, 64, 32, 16)  # images that BN sees at once
LAST_ITERS = range(60_000, 64_000, 4_000 // NUM_MINI_BATCHES)  # of the schedule, whose images are taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    words = parser.parse_args()
    recipe = Recipe(**PRESETS["cifar"])
    options = DataOptions(data_dir=words.data_dir, device=torch.device("cpu"))
    batches = load_for(recipe, "cifar10", options).input_pipeline(recipe)
    views = batches.views(recipe, 0)
    for run in words.runs:
        dataset, arch = run.split("/")
        net = read_net(words.results_dir / dataset / arch / "seed0" / "weights.safetensors", arch, 10).train()
        net.to(memory_format=torch.channels_last)
        errors: dict[int, list[float]] = {size: [] for size in PARTS}
        for iteration in LAST_ITERS:
            views.load(iteration)
            x, y = batches.train(views.at(torch.tensor(iteration)))
            for size in PARTS:
                with torch.no_grad():
                    wrong = torch.cat([net(part) for part in x.split(size)]).argmax(1) != y
                errors[size].append(100 * float(wrong.double().mean()))
        rises = [[part - whole for part, whole in zip(errors[n], errors[128], strict=True)] for n in PARTS[1:]]
        cells = [f"{fmean(rise):.2f} ± {stdev(rise) / len(rise) ** 0.5:.2f}" for rise in rises]
        print(f"| {arch} | {' | '.join([f'{fmean(errors[128]):.2f}', *cells])} |", flush=True)


if __name__ == "__main__":
    main()
