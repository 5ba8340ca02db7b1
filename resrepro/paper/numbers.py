"""Numbers published in the paper (arXiv 1512.03385) and in ResNeXt's (1611.05431), each with its table. Error in %."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Table1Row:
    """Hold one net of Table 1: blocks in each of its four stages, and 1e9 multiply-adds (the paper's "FLOPs")."""

    arch: str
    num_blocks: tuple[int, int, int, int]
    multiply_adds_e9: float


TABLE_1 = (
    Table1Row(arch="resnet18-A", num_blocks=(2, 2, 2, 2), multiply_adds_e9=1.8),
    Table1Row(arch="resnet34-A", num_blocks=(3, 4, 6, 3), multiply_adds_e9=3.6),
    Table1Row(arch="resnet50", num_blocks=(3, 4, 6, 3), multiply_adds_e9=3.8),
    Table1Row(arch="resnet101", num_blocks=(3, 4, 23, 3), multiply_adds_e9=7.6),
    Table1Row(arch="resnet152", num_blocks=(3, 8, 36, 3), multiply_adds_e9=11.3),
)
TABLE_1_OUTPUT_SIZES = (112, 56, 28, 14, 7)  # pixels a side: conv1, then conv2_x ... conv5_x; of every net


@dataclass(frozen=True, kw_only=True)
class ImageNetRow:
    """Hold one row of Tables 2 to 5. `arch` is our name of the net, None for methods of others and ensembles."""

    method: str
    arch: str | None = None
    top1_pct: float | None = None
    top5_pct: float | None = None


TABLE_2 = (  # validation, 10-crop
    ImageNetRow(method="plain-18", arch="plain18", top1_pct=27.94),
    ImageNetRow(method="plain-34", arch="plain34", top1_pct=28.54),
    ImageNetRow(method="ResNet-18 A", arch="resnet18-A", top1_pct=27.88),
    ImageNetRow(method="ResNet-34 A", arch="resnet34-A", top1_pct=25.03),
)
TABLE_3 = (  # validation, 10-crop
    ImageNetRow(method="VGG-16", top1_pct=28.07, top5_pct=9.33),
    ImageNetRow(method="GoogLeNet", top5_pct=9.15),
    ImageNetRow(method="PReLU-net", top1_pct=24.27, top5_pct=7.38),
    ImageNetRow(method="plain-34", arch="plain34", top1_pct=28.54, top5_pct=10.02),
    ImageNetRow(method="ResNet-34 A", arch="resnet34-A", top1_pct=25.03, top5_pct=7.76),
    ImageNetRow(method="ResNet-34 B", arch="resnet34-B", top1_pct=24.52, top5_pct=7.46),
    ImageNetRow(method="ResNet-34 C", arch="resnet34-C", top1_pct=24.19, top5_pct=7.40),
    ImageNetRow(method="ResNet-50", arch="resnet50", top1_pct=22.85, top5_pct=6.71),
    ImageNetRow(method="ResNet-101", arch="resnet101", top1_pct=21.75, top5_pct=6.05),
    ImageNetRow(method="ResNet-152", arch="resnet152", top1_pct=21.43, top5_pct=5.71),
)
TABLE_4 = (  # validation, single model, multi-scale
    ImageNetRow(method="VGG (test set)", top5_pct=8.43),
    ImageNetRow(method="GoogLeNet", top5_pct=7.89),
    ImageNetRow(method="VGG v5", top1_pct=24.4, top5_pct=7.1),
    ImageNetRow(method="PReLU-net", top1_pct=21.59, top5_pct=5.71),
    ImageNetRow(method="BN-inception", top1_pct=21.99, top5_pct=5.81),
    ImageNetRow(method="ResNet-34 B", arch="resnet34-B", top1_pct=21.84, top5_pct=5.71),
    ImageNetRow(method="ResNet-34 C", arch="resnet34-C", top1_pct=21.53, top5_pct=5.60),
    ImageNetRow(method="ResNet-50", arch="resnet50", top1_pct=20.74, top5_pct=5.25),
    ImageNetRow(method="ResNet-101", arch="resnet101", top1_pct=19.87, top5_pct=4.60),
    ImageNetRow(method="ResNet-152", arch="resnet152", top1_pct=19.38, top5_pct=4.49),
)
TABLE_5 = (  # test set, ensembles; the last is the paper's own
    ImageNetRow(method="VGG", top5_pct=7.32),
    ImageNetRow(method="GoogLeNet", top5_pct=6.66),
    ImageNetRow(method="VGG v5", top5_pct=6.8),
    ImageNetRow(method="PReLU-net", top5_pct=4.94),
    ImageNetRow(method="BN-inception", top5_pct=4.82),
    ImageNetRow(method="ResNet, six models", arch="ensemble", top5_pct=3.57),
)


@dataclass(frozen=True, kw_only=True)
class Table6Row:
    """Hold one row of Table 6: CIFAR-10 test error.

    `arch` is our name of the net, None for the other authors' methods. `mean_pct` and `std_pct` are given
    where the paper gives "best (mean +- std)", `num_runs` where it says over how many runs.
    """

    method: str
    arch: str | None
    num_layers: int | None
    parameters_e6: float | None
    error_pct: float
    mean_pct: float | None = None
    std_pct: float | None = None
    num_runs: int | None = None


TABLE_6 = (
    Table6Row(method="Maxout", arch=None, num_layers=None, parameters_e6=None, error_pct=9.38),
    Table6Row(method="NIN", arch=None, num_layers=None, parameters_e6=None, error_pct=8.81),
    Table6Row(method="DSN", arch=None, num_layers=None, parameters_e6=None, error_pct=8.22),
    Table6Row(method="FitNet", arch=None, num_layers=19, parameters_e6=2.5, error_pct=8.39),
    Table6Row(
        method="Highway", arch=None, num_layers=19, parameters_e6=2.3,
        error_pct=7.54, mean_pct=7.72, std_pct=0.16,
    ),
    Table6Row(method="Highway", arch=None, num_layers=32, parameters_e6=1.25, error_pct=8.80),
    Table6Row(method="ResNet", arch="resnet20", num_layers=20, parameters_e6=0.27, error_pct=8.75),
    Table6Row(method="ResNet", arch="resnet32", num_layers=32, parameters_e6=0.46, error_pct=7.51),
    Table6Row(method="ResNet", arch="resnet44", num_layers=44, parameters_e6=0.66, error_pct=7.17),
    Table6Row(method="ResNet", arch="resnet56", num_layers=56, parameters_e6=0.85, error_pct=6.97),
    Table6Row(
        method="ResNet", arch="resnet110", num_layers=110, parameters_e6=1.7,
        error_pct=6.43, mean_pct=6.61, std_pct=0.16, num_runs=5,
    ),
    Table6Row(method="ResNet", arch="resnet1202", num_layers=1202, parameters_e6=19.4, error_pct=7.93),
)  # fmt: skip

TEST_ERROR_PCT: dict[tuple[str, str], float] = {
    # (dataset, run) -> the test error that our last iteration's is compared with. ResNet-110: the mean. A run with a
    # name of its own has another recipe, and none was published.
    **{
        ("cifar10", row.arch): row.mean_pct if row.mean_pct is not None else row.error_pct
        for row in TABLE_6
        if row.arch is not None
    },
    ("cifar10", "resnext29-8x64d"): 3.65,  # Xie, Girshick, Dollar, Tu, He 2017, Table 7: mean of 10 runs
    ("cifar10", "resnext29-16x64d"): 3.58,
}

ITS_DATASETS = ("cifar10", "imagenet")  # Sec. 4.1 and 4.2


def published_error_pct(dataset: str, run: str, protocol: EvaluationProtocol, top: int = 1) -> float | None:
    """Return the published test error of a net under just this protocol.

    Args:
        run: its name, or `ensemble`, Table 5's six nets, on the test set.
        top: 1 or 5.
    """
    if dataset == "imagenet":
        tables = {"10-crop": (*TABLE_2, *TABLE_3), "multi-scale": (*TABLE_4, *TABLE_5)}.get(protocol, ())
        errors = (row.top1_pct if top == 1 else row.top5_pct for row in tables if row.arch == run)
        return next((error for error in errors if error is not None), None)
    return TEST_ERROR_PCT.get((dataset, run)) if protocol == "single view" and top == 1 else None


def test_error_spread(dataset: str, run: str) -> tuple[float, int] | None:
    """Return the published standard deviation between seeds, %, and their number; None where none is published."""
    rows = [row for row in TABLE_6 if dataset == "cifar10" and row.arch == run]
    return next(((row.std_pct, row.num_runs) for row in rows if row.std_pct and row.num_runs), None)


# How images are tested: Sec. 4.2's single view (on ImageNet: the center crop), and Tables 2 to 4's (Sec. 3.4).
EvaluationProtocol = Literal["single view", "10-crop", "multi-scale"]
# The shorter sides that images are resized to, for nets trained on 224 pixels (Sec. 3.4).
EVALUATION_SCALES: dict[EvaluationProtocol, tuple[int, ...]] = {
    "single view": (256,),
    "10-crop": (256,),
    "multi-scale": (224, 256, 384, 480, 640),
}
