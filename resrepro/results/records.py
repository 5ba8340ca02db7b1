"""Define the columns of the files under `results/`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ConfigDict, Field

from resrepro.config.strict import StrictModel
from resrepro.paper import EVALUATION_SCALES, EvaluationProtocol


class CurvePoint(StrictModel):
    """Holds one row of `curves.csv`.

    Args:
        iteration: completed iterations (the paper's x axis).
        lr: learning rate of the last completed iteration.
        train_loss: mean cross-entropy over the mini-batches since the last point, as trained.
        train_error_pct: error of the same mini-batches (augmented, BN in training mode), %.
        test_loss: mean cross-entropy over the test set, single view, with BN's moving averages.
        test_error_pct: top-1 error of the same test, %.
        elapsed_s: training and evaluation time up to here, over all sessions, seconds.
        test_error_bn_averaged_pct: the same test with BN's statistics averaged over training mini-batches, %; None
            where the recipe does not ask for it.
    """

    iteration: int
    lr: float
    train_loss: float
    train_error_pct: float
    test_loss: float
    test_error_pct: float
    elapsed_s: float
    test_error_bn_averaged_pct: float | None = None

    @property
    def shown_test_error_pct(self) -> float:
        """Return the test error that figures show: with averaged BN statistics if the recipe asks for them."""
        averaged = self.test_error_bn_averaged_pct
        return self.test_error_pct if averaged is None else averaged


Kernels = Literal["fused", "compiled", "triton", "torch"]  # triton: compiled, and our own convolutions


class Errors(StrictModel):
    """Holds errors on the test set.

    Args:
        top1_pct: top-1 error, %.
        top5_pct: top-5 error, %; None with fewer than 5 classes.
        loss: mean cross-entropy.
    """

    top1_pct: float
    top5_pct: float | None
    loss: float


class Evaluation(StrictModel):
    """Holds one entry of `evaluations.json` or `ensembles.json`: one run, or several together, under a test protocol.

    Args:
        members: the runs, `<dataset>/<run>/seed<k>` each; their softmax is averaged.
        finished_at: when each run ended, as its record says; the entry is void once one of them was trained again.
        scales: shorter sides in the paper's pixels: of a net trained on 64 pixels, 224 means 64.
        moving: the errors with BN's moving averages.
        reestimated: the errors with averages over training mini-batches in their place.
        sha256: of the entry without it, in the file; older ones have none.
    """

    members: tuple[str, ...]
    finished_at: tuple[str, ...]
    protocol: EvaluationProtocol
    scales: tuple[int, ...]
    moving: Errors
    reestimated: Errors
    device: str
    precision: str
    commit: str | None
    sha256: str | None = None

    @property
    def subject(self) -> tuple[object, ...]:
        """Return what the entry is about: a later entry with the same subject replaces it."""
        return self.members, self.protocol, self.scales

    def as_in_paper(self, protocol: EvaluationProtocol) -> bool:
        """Tell whether the protocol is this one, at the scales of the paper; small images are seen whole, at none."""
        whole = protocol == "single view" and not self.scales
        return self.protocol == protocol and (whole or self.scales == EVALUATION_SCALES[protocol])


class Response(StrictModel):
    """Holds one row of `responses.csv`: a 3x3 layer of the trained net (Fig. 7).

    Args:
        layer: its number among the weighted layers, from 1.
        name: the name of its convolution in the net.
        std: standard deviation of BN's output over images, positions and channels, before the shortcut's addition and
            ReLU; BN in inference mode, in the run's precision.
        num_images: training images it was measured on, without augmentation.
    """

    layer: int
    name: str
    std: float
    num_images: int


class Prediction(StrictModel):
    """One row of `predictions.csv`: what the trained net says of a test image, single view.

    Args:
        image: its number in the dataset's order, from 0.
        label: its class, from 0.
        moving: the class predicted with BN's moving averages.
        bn_averaged: the class predicted with BN's statistics averaged over training mini-batches.
    """

    image: int
    label: int
    moving: int
    bn_averaged: int

    @staticmethod
    def errors_pct(predictions: Sequence[Prediction]) -> tuple[float, float]:
        """Return the test errors with BN's moving averages and with averaged statistics, %, as a record has them."""
        moving = sum(p.moving != p.label for p in predictions)
        bn_averaged = sum(p.bn_averaged != p.label for p in predictions)
        return 100 * moving / len(predictions), 100 * bn_averaged / len(predictions)


NORMS_BATCHES = 4  # training mini-batches that they are of: always those of iterations 0 to 3


class LayerNorms(StrictModel):
    """Holds one row of `gradients.csv`: a convolution or fc at one moment of the training (Sec. 4.1).

    Args:
        iteration: completed iterations.
        moment: initialization, iteration 500, ..., after the warm-up, before drop 1, ..., end.
        layer: its number among the weighted layers, from 1.
        name: its name in the net.
        gradient_norm: L2 norm of the gradient of its weights, for the mean loss over fixed training mini-batches (BN in
            training mode, without weight decay); NaN or infinite where a run diverges.
        weight_norm: L2 norm of its weights.
        response_std: standard deviation of a 3x3 layer's response on the same mini-batches, BN with the statistics of
            these; None for other layers, and where the recipe does not ask for it.
    """

    model_config = ConfigDict(allow_inf_nan=True)

    iteration: int
    moment: str
    layer: int
    name: str
    gradient_norm: float
    weight_norm: float
    response_std: float | None = None


class ConstructedComparison(StrictModel):
    """Holds one row of `identity.csv`: a net made deeper by identity layers, before its training, beside the other net.

    Args:
        part: of the dataset: train (without augmentation) or test; BN's moving averages.
        shallower_error_pct: top-1 error of the net that it was made of, %.
        error_pct: its own top-1 error, %.
        largest_difference: between two outputs (before softmax) for one image and class.
        largest_output: the largest magnitude of an output, to compare with.
    """

    part: Literal["train", "test"]
    num_images: int
    shallower_error_pct: float
    error_pct: float
    largest_difference: float
    largest_output: float


class Session(StrictModel):
    """Describes the part of a run from `from_iter` on, and what computed it.

    Args:
        num_threads: threads of each process; another number rounds differently.
        num_processes: processes that shared each mini-batch.
    """

    from_iter: int
    device: str
    num_threads: int
    num_processes: int


class RunRecord(StrictModel):
    """Holds `run.json`: what was trained, how, and how it ended. It is written last: its presence means finished.

    Errors are of the last iteration; `best_*` is recorded beside them, never reported alone.

    Args:
        status: `diverged` where the loss became NaN or infinite, at `diverged_iter`; the errors are then None.
        arch_sha256: of the source of a net from outside the package, else None.
        start_from: the name of the run with whose weights it started, if any.
        lr_drop_iters: the iterations from which on the rate was divided by 10.
        kernels: what computed the blocks: our kernels on a CPU, torch's compiler with or without our convolutions, or
            torch's operations; they round differently.
        device, num_threads, num_processes: of the last session.
        earlier: sessions before it that differ from it (older records and checkpoints do not say).
        images: a hash that tells the training images from others; older records lack it.
        sha256: of the run's CSVs and weights, by file name; older records have none.
        image_size: as in `Run`; not in the file, but in the name of its folder.
    """

    status: Literal["finished", "diverged"]
    dataset: str
    name: str
    arch: str
    arch_sha256: str | None = None
    seed: int
    schedule_scale: float
    start_from: str | None = None
    recipe: dict[str, Any]
    num_parameters: int
    num_multiply_adds: int
    final_train_error_pct: float | None = None
    final_test_error_pct: float | None = None
    best_test_error_pct: float | None = None
    best_test_error_iter: int | None = None
    final_test_error_bn_reestimated_pct: float | None = None
    final_train_error_clean_pct: float | None = None
    warmup_opened_iter: int | None = None
    lr_drop_iters: tuple[int, ...] | None = None
    diverged_iter: int | None = None
    wall_time_s: float
    device: str
    precision: str
    kernels: Kernels
    num_threads: int = Field(ge=1, le=1024)
    num_processes: int = 1
    earlier: tuple[Session, ...] = ()
    images: str | None = None
    versions: dict[str, str]
    commit: str | None
    finished_at: str
    sha256: dict[str, str] = Field(default_factory=dict)
    image_size: int | None = Field(default=None, exclude=True)
    evaluations: tuple[Evaluation, ...] = Field(default=(), exclude=True)  # read from `evaluations.json`

    @property
    def averages_bn(self) -> bool:
        """Tell whether the recipe asks for averaged BN statistics in the curve."""
        return self.recipe.get("bn_average_batches") is not None

    @property
    def test_error_pct(self) -> float | None:
        """Return the test error that tables and claims show: with averaged BN statistics if the recipe asks so."""
        return self.final_test_error_bn_reestimated_pct if self.averages_bn else self.final_test_error_pct

    def error_pct(self, protocol: EvaluationProtocol, top: int) -> float | None:
        """Return the test error under just this protocol, %; None where it is not recorded, for no other replaces it.

        A run itself records the single view's top-1 error, with BN's statistics as in its curve. The others are
        recorded by `evaluate`, with BN's statistics re-estimated, as in the author's repository.

        Args:
            top: 1 or 5.
        """
        if (protocol, top) == ("single view", 1):
            return self.test_error_pct
        found = [evaluation.reestimated for evaluation in self.evaluations if evaluation.as_in_paper(protocol)]
        if not found:
            return None
        return found[-1].top1_pct if top == 1 else found[-1].top5_pct
