"""Numbers published in the paper (arXiv 1512.03385) and in ResNeXt's (1611.05431), each with its table. Error in %."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Table6Row:
    """One row of Table 6: CIFAR-10 test error.

    `arch` is our name of the net, None for the other authors' methods. `mean_pct` and `std_pct` are given
    where the paper gives "best (mean +- std)" over `num_runs`.
    """

    method: str
    arch: str | None
    num_layers: int | None
    parameters: str | None
    error_pct: float
    mean_pct: float | None = None
    std_pct: float | None = None
    num_runs: int = 1


TABLE_6 = (
    Table6Row(method="Maxout", arch=None, num_layers=None, parameters=None, error_pct=9.38),
    Table6Row(method="NIN", arch=None, num_layers=None, parameters=None, error_pct=8.81),
    Table6Row(method="DSN", arch=None, num_layers=None, parameters=None, error_pct=8.22),
    Table6Row(method="FitNet", arch=None, num_layers=19, parameters="2.5M", error_pct=8.39),
    Table6Row(
        method="Highway", arch=None, num_layers=19, parameters="2.3M",
        error_pct=7.54, mean_pct=7.72, std_pct=0.16,
    ),
    Table6Row(method="Highway", arch=None, num_layers=32, parameters="1.25M", error_pct=8.80),
    Table6Row(method="ResNet", arch="resnet20", num_layers=20, parameters="0.27M", error_pct=8.75),
    Table6Row(method="ResNet", arch="resnet32", num_layers=32, parameters="0.46M", error_pct=7.51),
    Table6Row(method="ResNet", arch="resnet44", num_layers=44, parameters="0.66M", error_pct=7.17),
    Table6Row(method="ResNet", arch="resnet56", num_layers=56, parameters="0.85M", error_pct=6.97),
    Table6Row(
        method="ResNet", arch="resnet110", num_layers=110, parameters="1.7M",
        error_pct=6.43, mean_pct=6.61, std_pct=0.16, num_runs=5,
    ),
    Table6Row(method="ResNet", arch="resnet1202", num_layers=1202, parameters="19.4M", error_pct=7.93),
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
