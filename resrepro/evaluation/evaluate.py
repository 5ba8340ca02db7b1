"""Test errors of trained nets, one by one and together, under a test protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from resrepro import results
from resrepro.config.architectures import architecture
from resrepro.config.presets import PRESETS
from resrepro.config.recipe import Recipe
from resrepro.data.dataset import DataOptions, Dataset
from resrepro.data.loading import differs_in_size, load_for
from resrepro.errors import UserError, errors_at
from resrepro.evaluation import preprocessing
from resrepro.evaluation.batch_norm import next_inputs, num_mini_batches, reestimated
from resrepro.evaluation.probabilities import errors, probabilities
from resrepro.evaluation.protocol_views import ProtocolViews, view_batches
from resrepro.evaluation.trained_nets import TrainedNet, read_net
from resrepro.paper import EvaluationProtocol
from resrepro.results.paths import RunFiles
from resrepro.results.records import Errors, Evaluation
from resrepro.runtime.device import Compute, device_errors


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Hold a net's errors, or an ensemble's, with BN's moving averages, and re-estimated where its recipe is known."""

    name: str
    moving: Errors
    reestimated: Errors | None


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """Say how nets are tested.

    Args:
        scales: None: the paper's.
        image_size: side of the images that nets were trained on whose run is not known; None: the paper's.
        preprocess, mean, std: of weights whose run is not known, see `preprocessing.normalization`.
        in_order: of such weights, see `weights.read_net`.
        max_images: a look at so many images, evenly spread, with about as many to re-estimate BN on; None: all.
    """

    protocol: EvaluationProtocol
    scales: tuple[int, ...] | None = None
    image_size: int | None = None
    preprocess: str = "pixel-mean"
    mean: str | None = None
    std: str | None = None
    in_order: bool = False
    max_images: int | None = None
    compute: Compute

    def recipe(self, net: TrainedNet) -> Recipe:
        """Return the recipe of the net's run, else the paper's for such a net: on crops or on whole images."""
        if net.run:
            return net.run.recipe
        arch = architecture(net.arch)
        if arch.family == "imagenet" or differs_in_size(net.dataset):
            return Recipe.model_validate(PRESETS["imagenet"]).with_image_size(self.image_size or arch.image_size)
        return Recipe.model_validate(PRESETS["cifar"])

    def sees_crops(self, net: TrainedNet) -> bool:
        """Say whether the net sees crops of resized images, as ImageNet's; CIFAR's nets see whole images."""
        return self.recipe(net).scale_crop is not None

    def views(self, net: TrainedNet) -> ProtocolViews:
        """Return the views of the protocol, of the size that the net was trained on."""
        crop = self.recipe(net).scale_crop
        return ProtocolViews.of(self.protocol, crop.size if crop else architecture(net.arch).image_size, self.scales)

    def numbers(self, num_images: int) -> list[int]:
        """Return the images to test on; files are sorted by class, so a look takes them from everywhere."""
        count = min(self.max_images or num_images, num_images)
        return [i * num_images // count for i in range(count)]

    def num_mini_batches(self, recipe: Recipe) -> int:
        """Return how many mini-batches BN is re-estimated on: as many as at the run's end, but fewer for a look."""
        at_the_end = num_mini_batches(recipe)
        return at_the_end if self.max_images is None else min(at_the_end, -(-self.max_images // recipe.batch_size))


def load(nets: Sequence[TrainedNet], setup: EvaluationOptions, options: DataOptions) -> Dataset:
    """Open the dataset of these nets: as files where they see crops, else in memory.

    Raises:
        UserError: it cannot be had, or the options do not fit the nets, or these not one another.
    """
    preprocessing.check(setup.preprocess, setup.mean, setup.std)
    if setup.preprocess != "pixel-mean" and all(net.run for net in nets):
        raise UserError(f"--preprocess {setup.preprocess}: a run is tested as it was trained; leave the option out")
    if setup.in_order and all(net.run for net in nets):
        raise UserError("--in-order: the weights of a run have our names; leave the option out")
    for net in nets:
        setup.views(net)  # says what is wrong with the options before anything is downloaded
    cut, whole = ([net.name for net in nets if setup.sees_crops(net) == crops] for crops in (True, False))
    if cut and whole:
        raise UserError(f"{whole[0]}: sees whole images, but {cut[0]} crops of resized ones; evaluate them one by one")
    if setup.image_size is not None and not any(net.name in cut for net in nets if net.run is None):
        raise UserError(
            f"--image-size {setup.image_size}: is of weights that see crops of resized images; leave it out"
        )
    if whole and setup.scales is not None:
        raise UserError(f"--scales: {whole[0]} sees whole images, which are not resized; leave the option out")
    by_side = {setup.recipe(net).resize: net.name for net in nets}
    if len(by_side) > 1:
        sides = "; ".join(f"{name}: {f'{side} pixels' if side else 'as they are'}" for side, name in by_side.items())
        raise UserError(f"the nets see images resized to different sizes ({sides}); evaluate them one by one")
    most = max(map(setup.recipe, nets), key=lambda recipe: recipe.largest_side)
    return load_for(most, nets[0].dataset, options)


def evaluate(
    nets: Sequence[TrainedNet], setup: EvaluationOptions, dataset: Dataset, *, ensemble: bool
) -> Iterator[Scores]:
    """Yield each net's scores, and at last those of the mean of their softmax (Table 5) if `ensemble`.

    Raises:
        UserError: weights that do not fit; images that are damaged.
    """
    labels = dataset.test_labels[setup.numbers(len(dataset.test_labels))]
    sums: list[Tensor | None] | None = None
    for net in nets:
        with device_errors(setup.compute, f"evaluate {net.name}"):
            model, iteration = read_net(net, dataset.num_classes, in_order=setup.in_order)
            unfinished = net.run if net.record is None else None
            at = f" at iteration {iteration} of {unfinished.recipe.total_iters}" if unfinished else ""
            found = list(_probabilities(net, model, setup, dataset))
        yield _scores(f"{net.name}{at}", found, labels)
        sums = found if sums is None else [_sum(p, q) for p, q in zip(sums, found, strict=True)]
    if ensemble and sums:
        means = [None if p is None else p / len(nets) for p in sums]
        yield _scores(f"ensemble of {len(nets)}", means, labels)


def _sum(p: Tensor | None, q: Tensor | None) -> Tensor | None:
    return None if p is None or q is None else p + q


def _scores(name: str, found: Sequence[Tensor | None], labels: Tensor) -> Scores:
    with errors_at(name):
        moving, again = (None if p is None else errors(p, labels) for p in found)
    assert moving is not None
    return Scores(name=name, moving=moving, reestimated=again)


def _probabilities(
    net: TrainedNet, model: nn.Module, setup: EvaluationOptions, dataset: Dataset
) -> Iterator[Tensor | None]:
    """Yield those with BN's moving averages; then re-estimated, or None where the recipe is not known."""
    compute, views = setup.compute, setup.views(net)
    numbers = setup.numbers(len(dataset.test_labels))
    model = compute.move(model)
    preprocess = ("pixel-mean", None, None) if net.run else (setup.preprocess, setup.mean, setup.std)
    normalized = preprocessing.normalization(*preprocess, dataset, setup.recipe(net))

    def scores() -> Tensor:
        batches = view_batches(dataset, numbers, views)
        return probabilities(
            model, batches, normalized, mirrored=views.mirrored, num_images=len(numbers),
            num_classes=dataset.num_classes, compute=compute,
        )  # fmt: skip

    yield scores()
    if net.run is None:
        yield None
        return
    pipeline = dataset.input_pipeline(net.run.recipe)
    inputs = next_inputs(pipeline, net.run, compute.device, setup.num_mini_batches(net.run.recipe))
    with reestimated(model, inputs, compute):
        yield scores()


def save_evaluation(
    members: Sequence[TrainedNet],
    setup: EvaluationOptions,
    scores: Scores,
    *,
    scales: tuple[int, ...],
    commit: str | None,
) -> Path | None:
    """Write the scores of a finished run beside its record, those of several into their dataset's `ensembles.json`.

    Returns:
        The file; None where nothing is recorded: a look at some images, weights of unknown origin, an unfinished run,
        or one whose folder is not that of its dataset.
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
