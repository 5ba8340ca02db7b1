"""The command that tests trained nets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from resrepro.cli.options import (
    DEFAULT_DATA,
    DEFAULT_RESULTS,
    DataDir,
    Device,
    InOrder,
    NetNames,
    PrecisionName,
    ReadDir,
    SkipCorrupt,
    Workers,
    console,
    num_workers,
    numbers,
    places_of,
    say,
)
from resrepro.errors import UserError, did_you_mean
from resrepro.paper import EvaluationProtocol
from resrepro.results.records import Errors

if TYPE_CHECKING:
    from resrepro.data.dataset import DataOptions
    from resrepro.evaluation.evaluate import EvaluationOptions, Scores
    from resrepro.evaluation.trained_nets import TrainedNet

PROTOCOLS: dict[str, EvaluationProtocol] = {"center": "single view", "10-crop": "10-crop", "multi-scale": "multi-scale"}
Preprocess = Annotated[
    str,
    typer.Option(help="Prepare the input of WEIGHTS with pixel-mean (the paper) or channel-mean-std (torchvision)."),
]
WeightsImageSize = Annotated[
    int | None,
    typer.Option(
        help="Give the size in pixels of the images that WEIGHTS were trained on; by default, the paper's.", min=32
    ),
]
WeightsDataset = Annotated[
    str | None,
    typer.Option(help="Test WEIGHTS on cifar10, cifar100, shapes, imagenet, imagenette, tiny-imagenet or folder:PATH."),
]
MaxImages = Annotated[int | None, typer.Option(help="Test only this many images, and record nothing.", min=1)]


def evaluate(
    nets: NetNames,
    protocol: Annotated[str, typer.Option(help="Test with center, 10-crop or multi-scale views.")] = "center",
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Also test all nets together, with their mean softmax.")
    ] = False,
    arch: Annotated[
        str | None, typer.Option(help="Name the architecture of WEIGHTS; of several: resnet50,resnet101.")
    ] = None,
    dataset: WeightsDataset = None,
    preprocess: Preprocess = "pixel-mean",
    mean: Annotated[
        str | None, typer.Option(help="Give the channels' means for channel-mean-std: r,g,b, from 0 to 1.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Give the channels' standard deviations: r,g,b, from 0 to 1.")] = None,
    in_order: InOrder = False,
    scales: Annotated[
        str | None,
        typer.Option(help="Resize to these shorter sides, such as 224,256 (for nets trained on 224 pixels)."),
    ] = None,
    image_size: WeightsImageSize = None,
    max_images: MaxImages = None,
    workers: Workers = None,
    skip_corrupt: SkipCorrupt = False,
    device: Device = "auto",
    precision: PrecisionName = "fp32",
    data_dir: DataDir = DEFAULT_DATA,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Measure the test errors of nets, alone and together.

    A RUN is a stored run, such as resnet50 or imagenet/resnet50/seed0. It is tested with BN's moving averages and with
    re-estimated statistics, and the errors are stored in its folder, for the tables. WEIGHTS is a file: our checkpoint,
    or a state dict of other code (it may be under 'state_dict', its keys may begin with 'module.', and its last layer
    may be 'fc' or 'linear').
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"--protocol {protocol}: unknown{did_you_mean(protocol, PROTOCOLS)}")
    from resrepro.data.dataset import DataOptions
    from resrepro.evaluation.evaluate import EvaluationOptions
    from resrepro.evaluation.trained_nets import find
    from resrepro.runtime.device import choose

    places = places_of(nets, results_dir, "evaluate")
    if ensemble and (len(nets) < 2 or len({place.resolve() for place in places}) < len(nets)):
        raise UserError(f"--ensemble: expected several nets, and each once; got {' '.join(nets)}")
    found = find(places, arch=arch, dataset=dataset)
    setup = EvaluationOptions(
        protocol=PROTOCOLS[protocol], scales=None if scales is None else numbers("--scales", scales),
        image_size=image_size, preprocess=preprocess, mean=mean, std=std, in_order=in_order, max_images=max_images,
        compute=choose(device, precision),
    )  # fmt: skip
    options = DataOptions(
        data_dir=data_dir, device=setup.compute.device, num_workers=num_workers(workers), skip_corrupt=skip_corrupt
    )
    _evaluate(found, setup, protocol, options, ensemble=ensemble)


def _evaluate(
    nets: list[TrainedNet], setup: EvaluationOptions, protocol: str, options: DataOptions, *, ensemble: bool
) -> None:
    """Test the nets, record their errors, and print them."""
    from resrepro.evaluation.evaluate import evaluate, load, save_evaluation
    from resrepro.runtime.versions import commit

    status = console.status("testing")

    def preparing(what: str, done: int, total: int) -> None:
        status.update("testing" if done == total else f"{what}: {done} of {total}")

    data = load(nets, setup, replace(options, progress=preparing))
    views = setup.views(nets[0])
    table = _table()
    files = []
    with status:
        for index, scores in enumerate(evaluate(nets, setup, data, ensemble=ensemble)):
            members = nets[index : index + 1] or nets
            at = views.scales if data.resizes_images else ()
            files.append(save_evaluation(members, setup, scores, scales=at, commit=commit()))
            _add_rows(table, scores)
    sides = f" at shorter side {', '.join(map(str, views.shorter_sides))}" if data.resizes_images else ""
    num_images = len(data.test_labels)
    num_tested = len(setup.numbers(num_images))
    sample = "" if num_tested == num_images else f", of which a sample of {num_tested}, not recorded"
    say(f"test errors on {nets[0].dataset}, {protocol}{sides}, {num_images} images{sample}")
    _print_other_precisions(nets, setup.compute.precision)
    console.print(table)
    for file in filter(None, files):
        say(file)


def _print_other_precisions(nets: list[TrainedNet], precision: str) -> None:
    """Print the nets that were trained, and tested then, in another precision than this one."""
    for net in nets:
        record = net.record
        if record and record.precision != precision and record.final_test_error_pct is not None:
            say(
                f"in {precision}; {net.name} was trained in {record.precision}, and recorded there "
                f"{record.final_test_error_pct:.2f} % (single view)",
            )


def _table() -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("net", overflow="fold")
    for column in ("BN", "top-1 (%)", "top-5 (%)", "loss"):
        table.add_column(column, justify="left" if column == "BN" else "right", no_wrap=True)
    return table


def _add_rows(table: Table, scores: Scores) -> None:
    table.add_row(scores.name, "moving", *_cells(scores.moving))
    if scores.reestimated is not None:
        table.add_row("", "re-estimated", *_cells(scores.reestimated))


def _cells(errors: Errors) -> tuple[str, str, str]:
    top5 = "" if errors.top5_pct is None else f"{errors.top5_pct:.2f}"
    return f"{errors.top1_pct:.2f}", top5, f"{errors.loss:.4f}"
