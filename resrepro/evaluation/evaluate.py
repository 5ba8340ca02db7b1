"""Trained nets, one by one and together, under a test protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from resrepro import results
from resrepro.config.architectures import architecture
from resrepro.config.datasets import DATASETS
from resrepro.config.recipe import IMAGENET_CROP, ScaleCrop
from resrepro.config.run import Run
from resrepro.data import loading
from resrepro.data.dataset import InputPipeline, Progress, silent
from resrepro.data.image_files.imagenet import open_image_folder
from resrepro.errors import UserError
from resrepro.evaluation import preprocessing
from resrepro.evaluation.batch_norm import NUM_MINI_BATCHES, reestimated
from resrepro.evaluation.data_sets import DataSet, InMemory, OnDisk
from resrepro.evaluation.probabilities import errors, probabilities
from resrepro.evaluation.protocol_views import ProtocolViews
from resrepro.evaluation.trained_nets import TrainedNet
from resrepro.models import build
from resrepro.models.weights import load_weights
from resrepro.paper import EvaluationProtocol
from resrepro.results.paths import RunFiles
from resrepro.results.records import Errors, Evaluation
from resrepro.runtime.device import Compute, device_errors


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A net's errors, or an ensemble's, with BN's moving averages, and re-estimated where its recipe is known."""

    name: str
    moving: Errors
    reestimated: Errors | None


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How nets are tested.

    Args:
        scales: None: the paper's.
        image_size: side of the images that nets were trained on whose run is not known; None: the paper's.
        preprocess, mean, std: of weights whose run is not known, see `preprocessing.normalization`.
        max_images: a look at so many images, evenly spread, with about as many to re-estimate BN on; None: all.
        num_workers: threads that decode images.
        skip_corrupt: whether training images that cannot be decoded are left out, as in such a run.
    """

    protocol: EvaluationProtocol
    scales: tuple[int, ...] | None = None
    image_size: int | None = None
    preprocess: str = "pixel-mean"
    mean: str | None = None
    std: str | None = None
    max_images: int | None = None
    num_workers: int = 0
    skip_corrupt: bool = False
    compute: Compute

    def crop(self, net: TrainedNet) -> ScaleCrop:
        """How images were cut in the net's training: as its run says, else in the paper's proportions."""
        return net.crop or IMAGENET_CROP.of_size(self.image_size or architecture(net.arch).image_size)

    def views(self, net: TrainedNet) -> ProtocolViews:
        return ProtocolViews.of(self.protocol, self.crop(net).size, self.scales)

    def numbers(self, num_images: int) -> list[int]:
        """The images to test on; files are sorted by class, so a look takes them from everywhere."""
        count = min(self.max_images or num_images, num_images)
        return [i * num_images // count for i in range(count)]

    def num_mini_batches(self, batch_size: int) -> int:
        if self.max_images is None:
            return NUM_MINI_BATCHES
        return min(NUM_MINI_BATCHES, -(-self.max_images // batch_size))


def load(
    nets: Sequence[TrainedNet], setup: EvaluationOptions, *, data_dir: Path, progress: Progress = silent
) -> DataSet:
    """The data set of these nets: in memory, or as files where images have to be resized.

    Args:
        progress: is told how far the per-pixel mean is.

    Raises:
        UserError: it cannot be had, or the options do not fit the nets, or these not one another.
    """
    preprocessing.check(setup.preprocess, setup.mean, setup.std)
    if setup.preprocess != "pixel-mean" and all(net.run for net in nets):
        raise UserError(f"--preprocess {setup.preprocess}: a run is tested as it was trained; leave the option out")
    for net in nets:
        setup.views(net)  # says what is wrong with the options before anything is downloaded
    dataset = nets[0].dataset
    cut, whole = ([net.name for net in nets if _sees_crops(net) == crops] for crops in (True, False))
    if cut and whole:
        raise UserError(f"{whole[0]}: sees whole images, but {cut[0]} crops of resized ones; evaluate them one by one")
    if setup.image_size is not None and not any(net.name in cut for net in nets if net.run is None):
        raise UserError(
            f"--image-size {setup.image_size}: is of weights that see crops of resized images; leave it out"
        )
    if whole and setup.scales is not None:
        raise UserError(f"--scales: {whole[0]} sees whole images, which are not resized; leave the option out")
    if cut:
        tree = open_image_folder(dataset, data_dir=data_dir)
        return OnDisk(tree, dataset, data_dir, setup.num_workers, setup.skip_corrupt, progress)
    return InMemory(loading.load(dataset, data_dir=data_dir))


def _sees_crops(net: TrainedNet) -> bool:
    """Whether the net's images are cut from resized files, as ImageNet's; CIFAR's nets see whole images."""
    if net.run:
        return net.crop is not None
    of_trees = net.dataset in DATASETS and DATASETS[net.dataset].module == "trees"
    return of_trees or architecture(net.arch).family == "imagenet"


def evaluate(
    nets: Sequence[TrainedNet], setup: EvaluationOptions, data_set: DataSet, *, ensemble: bool
) -> Iterator[Scores]:
    """Each net's scores, and at last those of the mean of their softmax (Table 5) if `ensemble`.

    Raises:
        UserError: weights that do not fit; images that are damaged.
    """
    labels = data_set.labels[setup.numbers(len(data_set.labels))]
    sums: list[Tensor | None] | None = None
    for net in nets:
        with device_errors(setup.compute, f"evaluate {net.name}"):
            found = list(_probabilities(net, setup, data_set))
        yield _scores(net.name, found, labels)
        sums = found if sums is None else [_sum(p, q) for p, q in zip(sums, found, strict=True)]
    if ensemble and sums:
        means = [None if p is None else p / len(nets) for p in sums]
        yield _scores(f"ensemble of {len(nets)}", means, labels)


def _sum(p: Tensor | None, q: Tensor | None) -> Tensor | None:
    return None if p is None or q is None else p + q


def _scores(name: str, found: Sequence[Tensor | None], labels: Tensor) -> Scores:
    try:
        moving, again = (None if p is None else errors(p, labels) for p in found)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    assert moving is not None
    return Scores(name=name, moving=moving, reestimated=again)


def _probabilities(net: TrainedNet, setup: EvaluationOptions, data_set: DataSet) -> Iterator[Tensor | None]:
    """With BN's moving averages; then re-estimated, or None where the recipe is not known."""
    compute, views = setup.compute, setup.views(net)
    numbers = setup.numbers(len(data_set.labels))
    model = build(net.arch, num_classes=data_set.num_classes)
    load_weights(model, net.weights, net.arch)
    model = model.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    preprocess = ("pixel-mean", None, None) if net.run else (setup.preprocess, setup.mean, setup.std)
    train_images = net.run.recipe.train_images if net.run else None
    normalized = preprocessing.normalization(*preprocess, data_set, setup.crop(net), train_images, compute.device)

    def scores() -> Tensor:
        batches = data_set.batches(views, numbers, compute)
        return probabilities(
            model, batches, normalized, mirrored=views.mirrored, num_images=len(numbers),
            num_classes=data_set.num_classes, compute=compute,
        )  # fmt: skip

    yield scores()
    if net.run is None:
        yield None
        return
    recipe = net.run.recipe
    first = recipe.total_iters  # what would have come next, as in the run's own record
    iterations = range(first, first + setup.num_mini_batches(recipe.batch_size))
    inputs = _train_inputs(data_set.source(recipe, compute), net.run, iterations, compute.device)
    with reestimated(model, inputs, compute):
        yield scores()


def _train_inputs(source: InputPipeline, run: Run, iterations: range, device: torch.device) -> Iterator[Tensor]:
    views = source.views(run.recipe, run.seed)
    for iteration in iterations:
        views.load(iteration)
        yield from source.train(views.at(torch.tensor(iteration, device=device)))[0].chunk(run.recipe.bn_devices)


def save_evaluation(
    members: Sequence[TrainedNet],
    setup: EvaluationOptions,
    scores: Scores,
    *,
    scales: tuple[int, ...],
    commit: str | None,
) -> Path | None:
    """The scores of a finished run go beside its record, those of several into their data set's `ensembles.json`.

    Returns:
        The file; None where nothing is recorded: a look at some images, weights of unknown origin, an unfinished run,
        or one whose folder is not that of its data set.
    """
    records = [net.record for net in members if net.record is not None]
    places = {net.results_dir for net in members}
    results_dir = places.pop()
    if setup.max_images or scores.reestimated is None or len(records) < len(members) or places or results_dir is None:
        return None
    files = RunFiles(folder=members[0].weights.parent)
    path = files.evaluations if len(members) == 1 else results.ensembles_file(results_dir, members[0].dataset)
    evaluation = Evaluation(
        members=tuple(net.name for net in members),
        finished_at=tuple(record.finished_at for record in records),
        protocol=setup.protocol,
        scales=scales,
        moving=scores.moving,
        reestimated=scores.reestimated,
        device=setup.compute.name,
        precision=setup.compute.precision,
        commit=commit,
    )
    results.record_evaluation(path, evaluation)
    return path
