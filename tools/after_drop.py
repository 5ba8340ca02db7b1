"""Goes on after the first drop of the rate with a net that was stopped there, under a changed recipe.

    python tools/after_drop.py cifar10/plain56-32k-fc-gaussian [bn_devices=2] [--data-dir DIR] [--output-dir DIR]

The run's images, their order and its weights are those of a run that is not stopped; its momenta are not stored, and
begin at zero. Writes the curve points as results/after-drop/RUN.csv, with the change in the name.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

from resrepro.config.recipe import Recipe
from resrepro.data.dataset import DataOptions
from resrepro.data.loading import load_for
from resrepro.evaluation.trained_nets import find, read_net
from resrepro.results import csv_rows
from resrepro.results.records import CurvePoint
from resrepro.runtime.device import choose
from resrepro.training.loop import Training
from resrepro.training.step import Engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("changes", nargs="*", help="a field of the recipe and its value, such as bn_devices=2")
    parser.add_argument("--iters", type=int, default=1000)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--output-dir", type=Path, default=Path("results/after-drop"))
    words = parser.parse_args()
    compute = choose(words.device, words.precision)
    (trained,) = find([words.results_dir / words.run / "seed0"], arch=None, dataset=None)
    assert trained.run is not None
    stopped = trained.run.recipe
    net, iteration = read_net(trained, 10)
    assert iteration == stopped.total_iters
    changed = {key: value for change in words.changes for key, value in tomllib.loads(change).items()}
    going_on = {"total_iters": iteration + words.iters, "lr_drop_iters": (iteration,), **changed}
    recipe = Recipe.model_validate({**dict(stopped), **going_on})
    dataset = load_for(recipe, trained.dataset, DataOptions(data_dir=words.data_dir, device=compute.device))
    engine = Engine(net, dataset.input_pipeline(recipe), recipe, seed=trained.run.seed, compute=compute)
    training = Training(recipe, engine, first_iter=iteration)
    name = "-".join([Path(words.run).name, *words.changes])
    for point in training.steps():
        if point is not None:
            print(f"{name}: {point}", flush=True)
            csv_rows.write_rows(words.output_dir / f"{name}.csv", CurvePoint, training.points)


if __name__ == "__main__":
    main()
