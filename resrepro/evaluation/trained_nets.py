"""Trained nets as `evaluate` is given them: folders of runs, and files of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from resrepro import results
from resrepro.config.architectures import architecture
from resrepro.config.datasets import dataset_folder
from resrepro.config.run import Run
from resrepro.errors import UserError
from resrepro.models import weights
from resrepro.models.own import check_source
from resrepro.models.saved import read_saved
from resrepro.results.paths import RunFiles
from resrepro.results.records import RunRecord
from resrepro.results.run_store import weights_metadata
from resrepro.results.same_run import recorded_run

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


def find(places: Sequence[Path], *, arch: str | None = None, dataset: str | None = None) -> list[TrainedNet]:
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
    about = weights.read_metadata(file) if file.suffix == weights.SUFFIX else {}
    for option, given in (("arch", arch), ("dataset", dataset)):
        if given and about.get(option, given) != given:
            raise UserError(f"--{option} {given}: {file} has weights of {about[option]}, as it says itself")
    family = architecture(arch).family
    if family is None and dataset is None:
        raise UserError(f"--arch {arch}: expected --dataset as well, for this net may be of any dataset")
    usual = "cifar10" if family == "cifar" else "imagenet"
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
    stored = files.weights if record and files.weights.is_file() else files.checkpoint
    if not stored.is_file():
        raise UserError(
            f"{folder}: no weights are stored: neither {files.weights.name} nor {files.checkpoint.name}, which is not "
            f"committed; put one of them there, or move {folder} away and train the run again"
        )
    for line in results.damaged_files([stored], record) if record else ():
        raise UserError(line)
    return TrainedNet(name=files.name, arch=run.arch, dataset=run.dataset, weights=stored, run=run, record=record)


def read_net(
    trained: TrainedNet, num_classes: int | None = None, *, in_order: bool = False
) -> tuple[nn.Module, int | None]:
    """Return a net with its stored weights, and the iteration of its run that they are of; None where no run is known.

    Args:
        num_classes: as many as it must have; None: as the file says.
        in_order: as `weights.read_net`, of weights that no run is known of.

    Raises:
        UserError: damaged, or the weights of another run, or of a net whose source has changed; or the run is finished,
            and its checkpoint is not its last.
    """
    path, run, record = trained.weights, trained.run, trained.record
    if run is None:
        return weights.read_net(path, trained.arch, num_classes, in_order=in_order), None
    check_source(run)
    total_iters = run.recipe.total_iters
    if record is not None and path.suffix == weights.SUFFIX:
        about = weights.read_metadata(path)  # says whose it is
        if num_classes is None and about.get("num_classes", "").isdecimal():
            num_classes = int(about["num_classes"])
        net = weights.read_net(path, run.arch, num_classes)
        for key, expected in weights_metadata(run, record, num_classes or 0).items():
            if key != "run" and about.get(key) != expected:  # the folder may have been moved
                raise UserError(f"{path}: weights of another run: {key} is {about.get(key)!r}, expected {expected!r}")
        return net, total_iters
    saved = read_saved(path)
    net = weights.net_of(saved, path, run.arch, num_classes)
    iteration = saved.get("iteration")
    if record is not None and iteration != total_iters:
        raise UserError(
            f"{path}: at iteration {iteration} of {total_iters}, but the run is finished; restore its last checkpoint, "
            "or move this one away"
        )
    return net, iteration
