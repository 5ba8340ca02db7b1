"""Trained nets as `evaluate` is given them: folders of runs, and files of weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from resrepro import results
from resrepro.config.architectures import architecture
from resrepro.config.datasets import dataset_folder
from resrepro.config.recipe import Recipe
from resrepro.config.run import Run
from resrepro.config.strict import first_mistake
from resrepro.errors import UserError
from resrepro.results.paths import RunFiles
from resrepro.results.records import RunRecord

EXPECTED = "the folder of a run, such as results/imagenet/resnet50/seed0, or a file of weights"


@dataclass(frozen=True, kw_only=True)
class TrainedNet:
    """Say where a net's weights are; `run`: how it was trained, where that is known; `record`: if it is finished."""

    name: str
    arch: str
    dataset: str
    weights: Path
    run: Run | None = None
    record: RunRecord | None = None

    @property
    def results_dir(self) -> Path | None:
        """The results folder, if the run is stored there among those of its dataset; else None."""
        *_, results_dir, dataset = (None, None, *reversed(self.weights.resolve().parents[2:4]))
        return results_dir if self.run and dataset and dataset.name == dataset_folder(self.dataset) else None


def find(places: Sequence[Path], *, arch: str | None, dataset: str | None) -> list[TrainedNet]:
    """Find nets: a folder is a run, and says all about itself; a file has weights of `arch` (`a,b`: one each).

    Raises:
        UserError: no run, no weights there, diverged, architectures missing, or nets of different datasets.
    """
    for place in places:
        if not place.exists():
            raise UserError(f"{place}: no such file or folder; expected {EXPECTED}")
    num_files = sum(not place.is_dir() for place in places)
    archs = arch.split(",") if arch else []
    if len(archs) == 1 and num_files:
        archs *= num_files
    if archs and not num_files:
        raise UserError(f"--arch {arch}: a folder of a run says what it is; leave the option out")
    if len(archs) != num_files:
        raise UserError(
            f"--arch {arch or '(not given)'}: expected one for all {num_files} weight file(s), or one each with "
            "commas, such as resnet50,resnet101; a folder of a run needs none"
        )
    if dataset is not None and num_files == 0:
        raise UserError(f"--dataset {dataset}: a run is tested on its own dataset; leave the option out")
    names = iter(archs)
    nets = [_run(place) if place.is_dir() else _weights(place, next(names), dataset) for place in places]
    for net in nets[1:]:
        if net.dataset != nets[0].dataset:
            raise UserError(
                f"{net.name}: is of {net.dataset}, but {nets[0].name} of {nets[0].dataset}; evaluate them one by one"
            )
    return nets


def _weights(file: Path, arch: str, dataset: str | None) -> TrainedNet:
    usual = "cifar10" if architecture(arch).family == "cifar" else "imagenet"
    return TrainedNet(name=str(file), arch=arch, dataset=dataset or usual, weights=file)


def _run(folder: Path) -> TrainedNet:
    files = RunFiles(folder=folder)
    record = results.read_record(files)
    run = results.read_asked(files) if record is None else recorded_run(record)
    if run is None:
        raise UserError(
            f"{folder}: no run there: neither {files.record.name} nor {files.asked.name}; expected {EXPECTED}"
        )
    if record is not None and record.status == "diverged":
        raise UserError(f"{folder}: the run diverged at iteration {record.diverged_iter}; there is no net to evaluate")
    weights = files.weights if record and files.weights.is_file() else files.checkpoint
    if not weights.is_file():
        raise UserError(
            f"{weights}: no such file, and it holds the weights; put it or {files.weights.name} there (checkpoints are "
            f"not committed), or move {folder} away and train the run again"
        )
    return TrainedNet(
        name="/".join(folder.resolve().parts[-3:]),
        arch=run.arch,
        dataset=run.dataset,
        weights=weights,
        run=run,
        record=record,
    )


def recorded_run(record: RunRecord) -> Run:
    """Return the run that a record is of.

    Raises:
        UserError: its recipe is none that this version knows.
    """
    try:
        recipe = Recipe.model_validate_json(json.dumps(record.recipe))
    except ValidationError as error:
        raise UserError(
            f"run.json of {record.name}, seed {record.seed}: recipe.{first_mistake(error)}; restore it"
        ) from error
    return Run(
        dataset=record.dataset,
        name=record.name,
        arch=record.arch,
        recipe=recipe,
        seed=record.seed,
        schedule_scale=record.schedule_scale,
        label=record.name,
    )
