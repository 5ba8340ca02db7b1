"""The commands about nets: summary, bench."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from resrepro.errors import UserError
from resrepro.options import (
    DEFAULT_DATA,
    DEFAULT_RESULTS,
    DataDir,
    Device,
    ImageSize,
    PrecisionName,
    ResultsDir,
    Workers,
    app,
    console,
    numbers,
)


@app.command()
def summary(
    arch: Annotated[str | None, typer.Argument(help="One architecture; all of them without it.")] = None,
) -> None:
    """Layers, parameters, multiply-adds, sizes.

    The columns of Table 1 and Table 6, counted by torch on the nets themselves.
    vgg16 and vgg19 are there to compare with.
    """
    from resrepro.catalog import ARCHITECTURES
    from resrepro.models.complexity import VGG, complexity

    table = Table("architecture", "layers", "parameters", "multiply-adds", "output size", box=None, header_style="bold")
    found = {name: complexity(name) for name in ([arch] if arch else [*ARCHITECTURES, *VGG])}
    for name, counts in found.items():
        where = "" if arch else ", ".join(f"{h}" for _, h, _ in counts.output_sizes.values())
        table.add_row(
            name,
            str(counts.num_layers),
            f"{counts.num_parameters:,}",
            f"{counts.num_multiply_adds:.3g}",
            where,
        )
    console.print(table)
    if arch:
        height, width = found[arch].image_size
        console.print(f"\ninput   3 x {height}x{width}")
        for stage, (c, h, w) in found[arch].output_sizes.items():
            console.print(f"{stage:8}{c} x {h}x{w}")
    else:
        ours, vgg = found["resnet152"], found["vgg19"]
        console.print(
            f"\nResNet-152 is {ours.num_layers / vgg.num_layers:.1f} times as deep as VGG-19 and has "
            f"{ours.num_multiply_adds / vgg.num_multiply_adds:.2f} times its multiply-adds "
            f"({ours.num_multiply_adds / 1e9:.1f}e9 and {vgg.num_multiply_adds / 1e9:.1f}e9)",
            soft_wrap=True,
        )


@app.command()
def bench(
    archs: Annotated[
        list[str] | None, typer.Argument(help="Such as resnet20 resnet56; or imagenet, and nets after it.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Data to train on; cifar10, or imagenet, without it.")] = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    data_dir: DataDir = DEFAULT_DATA,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    jobs: Annotated[
        str | None, typer.Option(help="Runs at once that ours is timed with.", show_default="1,2,4,8")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="How often the loops take turns.", min=1, show_default="5")] = None,
    seconds: Annotated[float, typer.Option(help="Of a round, at least.", min=0.01)] = 3.0,
    image_size: ImageSize = None,
    workers: Workers = None,
) -> None:
    """Speed beside the standard PyTorch loop.

    Both end to end on the same data, in turns; ours alone and several at once. The 20 to 1202 layers of Sec. 4.2
    without names. 'bench imagenet' times the way from image files to trained mini-batches: decode, augmentation,
    step alone, end to end, and which bounds. Also written as JSON below the results.
    """
    if archs and archs[0] == "imagenet":
        from resrepro import device as devices
        from resrepro.bench import pipeline

        if jobs is not None or rounds is not None:
            raise UserError("--jobs and --rounds do not belong to 'bench imagenet', which times one run")
        pipeline.measure(
            archs[1:] or list(pipeline.NETS), dataset=dataset or "imagenet", image_size=image_size, data_dir=data_dir,
            results_dir=results_dir, compute=devices.choose(device, precision),
            num_workers=devices.num_cores() if workers is None else workers, seconds=seconds, console=console,
        )  # fmt: skip
        return
    if image_size is not None or workers is not None:
        raise UserError("--image-size and --workers belong to 'bench imagenet'")
    from resrepro.bench import ARCHITECTURES, compare

    runs_at_once = numbers("--jobs", jobs or "1,2,4,8")
    if 0 in runs_at_once:
        raise UserError(f"--jobs {jobs}: expected numbers of runs, such as 1,2,4")
    compare(
        archs or list(ARCHITECTURES), runs_at_once=runs_at_once, dataset=dataset or "cifar10", data_dir=data_dir,
        results_dir=results_dir, device=device, precision=precision, rounds=rounds or 5, seconds=seconds,
        console=console,
    )  # fmt: skip
