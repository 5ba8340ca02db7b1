"""`resrepro bench`: measure the speed of training."""

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
    ResultsDir,
    Workers,
    console,
    numbers,
)
from resrepro.errors import UserError


def bench(
    archs: Annotated[
        list[str] | None, typer.Argument(help="Such as resnet20 resnet56; or imagenet, and nets after it.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Dataset; by default cifar10, or imagenet with 'bench imagenet'.")
    ] = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    data_dir: DataDir = DEFAULT_DATA,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    jobs: Annotated[
        str | None, typer.Option(help="Numbers of runs at once with which our loop is timed.", show_default="1,2,4,8")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="How often the loops take turns.", min=1, show_default="5")] = None,
    seconds: Annotated[float, typer.Option(help="Duration of a round, at least.", min=0.01)] = 3.0,
    image_size: ImageSize = None,
    workers: Workers = None,
) -> None:
    """Measure the speed beside the standard PyTorch loop.

    Both run end to end on the same data, in turns; ours alone and several at once. Without names, the nets are those
    of Sec. 4.2 with 20 to 1202 layers. 'bench imagenet' times the way from image files to trained mini-batches:
    decode, augmentation, step alone, end to end, and which bounds. It is also written as JSON below the results.
    """
    if archs and archs[0] == "imagenet":
        from resrepro.bench import imagenet
        from resrepro.runtime import device as devices

        if jobs is not None or rounds is not None:
            raise UserError("--jobs and --rounds do not belong to 'bench imagenet', which times one run")
        imagenet.measure(
            archs[1:] or list(imagenet.NETS), dataset=dataset or "imagenet", image_size=image_size, data_dir=data_dir,
            results_dir=results_dir, compute=devices.choose(device, precision),
            num_workers=devices.num_cores() if workers is None else workers, seconds=seconds, console=console,
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
