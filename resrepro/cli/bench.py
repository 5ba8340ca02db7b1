"""`resrepro bench`: the speed of training."""

from __future__ import annotations

from typing import Annotated

import typer

from resrepro.cli.options import (
    DEFAULT_DATA,
    DEFAULT_RESULTS,
    DataDir,
    Device,
    ImageSize,
    PrecisionName,
    Workers,
    WriteDir,
    console,
    num_workers,
    numbers,
)
from resrepro.errors import UserError


def bench(
    archs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARCH|imagenet",
            show_default=False,
            help="Name nets, such as resnet20 resnet56; or imagenet, with or without nets after it.",
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Train on this dataset; by default, cifar10 or imagenet.")] = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    data_dir: DataDir = DEFAULT_DATA,
    results_dir: WriteDir = DEFAULT_RESULTS,
    jobs: Annotated[
        str | None, typer.Option(help="Time our loop with these numbers of runs at once.", show_default="1,2,4,8")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Let the loops take turns this many times.", min=1, show_default="5")
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="Time each turn for at least this many seconds.", min=0.01, max=3600)
    ] = 3.0,
    image_size: ImageSize = None,
    workers: Workers = None,
) -> None:
    """Time our training loop and the standard PyTorch loop.

    Both are timed end to end on the same data, in turns; ours with one and with several runs at once. The default nets
    are those of Sec. 4.2, with 20 to 1202 layers. 'bench imagenet' times the steps from image files to trained
    mini-batches (decoding, augmentation, the training step, and all together), and names the bottleneck. The times are
    also written as JSON, below the results.
    """
    if archs and archs[0] == "imagenet":
        from resrepro.bench import imagenet
        from resrepro.runtime import device as devices

        if jobs is not None or rounds is not None:
            raise UserError("--jobs and --rounds do not belong to 'bench imagenet', which times one run")
        imagenet.measure(
            archs[1:] or list(imagenet.NETS), dataset=dataset or "imagenet", image_size=image_size, data_dir=data_dir,
            results_dir=results_dir, compute=devices.choose(device, precision),
            num_workers=num_workers(workers), seconds=seconds, console=console,
        )  # fmt: skip
        return
    if image_size is not None or workers is not None:
        raise UserError("--image-size and --workers belong to 'bench imagenet'")
    from resrepro.bench.training import ARCHITECTURES, compare

    runs_at_once = numbers("--jobs", jobs or "1,2,4,8")
    if 0 in runs_at_once:
        raise UserError(f"--jobs {jobs}: expected numbers of runs, such as 1,2,4")
    compare(
        archs or list(ARCHITECTURES), runs_at_once=runs_at_once, dataset=dataset or "cifar10", data_dir=data_dir,
        results_dir=results_dir, device=device, precision=precision, rounds=rounds or 5, seconds=seconds,
        console=console,
    )  # fmt: skip
