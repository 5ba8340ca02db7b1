"""Commands of the laboratory: what later papers asked of such nets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from resrepro import results
from resrepro.cli.options import (
    DEFAULT_DATA,
    DEFAULT_RESULTS,
    DataDir,
    Device,
    InOrder,
    NetNames,
    OutputDir,
    PrecisionName,
    ReadDir,
    RunName,
    WriteDir,
    console,
    numbers,
    places_of,
    print_table,
    say,
)
from resrepro.errors import UserError
from resrepro.results.laboratory import Lesion, PathGradient, SurfacePoint
from resrepro.results.status import named_run
from resrepro.results.unfinished_rows import UnfinishedRows

REPLACED = ", in place of the one that was there"
Seed = Annotated[int, typer.Option(help="Draw random numbers with this seed.", min=0)]


def responses(
    nets: NetNames,
    arch: Annotated[str | None, typer.Option(help="Name the architecture of WEIGHTS.")] = None,
    in_order: InOrder = False,
    output_dir: OutputDir = None,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Draw layer responses from weights alone, without data.

    As in Fig. 7. The standard deviation of a 3x3 layer's response is sqrt(mean gamma^2 + var beta), from the parameters
    of its BN. The figure also shows the paper's curve, and what a run measured on its images.
    """
    from resrepro.laboratory import bn_responses as laboratory

    places = places_of(nets, results_dir, "responses")
    found = [laboratory.responses_of(place, arch, in_order=in_order) for place in places]
    for net in found:
        print_table(laboratory.tabulate(net))
    for path in laboratory.write(found, output_dir or results.figures_folder(results_dir)):
        say(path)


def lesions(
    run: RunName,
    images: Annotated[
        int, typer.Option(help="Test on this many test images, evenly spread; paths.csv uses 100.", min=1)
    ] = 2000,
    draws: Annotated[int, typer.Option(help="Draw this many nets for each number of blocks.", min=1, max=1000)] = 5,
    seed: Seed = 0,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    data_dir: DataDir = DEFAULT_DATA,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Test a trained net without some of its blocks.

    Test it without each block in turn, without several random blocks, and with permuted blocks. Also measure gradients
    by the length of their paths (Veit, Wilber, Belongie 2016). Write lesions.csv and paths.csv to the folder of the
    run.
    """
    from resrepro.laboratory import lesions as laboratory
    from resrepro.laboratory.stored_net import evenly_spread, open_run
    from resrepro.runtime.device import choose, device_errors

    compute = choose(device, precision)
    stored = open_run(named_run(run, results_dir, "lesions"), data_dir, compute)
    test = stored.images.test_split
    written = (stored.files.lesions, stored.files.paths)
    before = [file for file in written if file.exists()]
    asked = stored.asked(compute, images=images, draws=draws, seed=seed)
    with (
        results.unfinished_rows(stored.files.lesions, Lesion, asked) as found,
        device_errors(compute, f"lesions {run}"),
    ):
        some = evenly_spread(test, images)
        tested = laboratory.lesions(stored.net, some, compute, draws=draws, seed=seed, skip=len(found.rows))
        with _resumed(found, "nets"), console.status("testing") as status:
            for lesion in tested:
                found.add(lesion)
                status.update(f"tested {len(found.rows)} nets")
            paths = [*laboratory.path_gradients(stored.net, test, compute, draws=draws, seed=seed)]
        results.write_measured(
            stored.files, {stored.files.lesions: (Lesion, found.rows), stored.files.paths: (PathGradient, paths)}
        )
    print_table(laboratory.tabulate(found.rows, stored.run.label))
    for file in written:
        say(f"{file}{REPLACED if file in before else ''}")


@contextmanager
def _resumed(found: UnfinishedRows[Any], what: str) -> Iterator[None]:
    """Say that a measurement goes on after an earlier one, and when Ctrl-C ends it, that it can."""
    if found.rows:
        console.print(f"going on after {len(found.rows)} {what}, which an interrupted command measured")
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"stopped after {len(found.rows)} {what}; the same command goes on from there")
        raise


def surface(
    run: RunName,
    points: Annotated[int, typer.Option(help="Take this many points in each direction, an odd number.", min=3)] = 25,
    plane: Annotated[
        bool, typer.Option("--plane", help="Measure on the plane of two directions; by default, along one.")
    ] = False,
    images: Annotated[int, typer.Option(help="Take this many training images, evenly spread.", min=2)] = 500,
    seed: Seed = 0,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    data_dir: DataDir = DEFAULT_DATA,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Measure the loss around a trained net.

    Move along random directions whose filters have the norms of the net's filters (Li et al. 2018). At each point, BN's
    statistics are computed again, from the images of the loss; along the first direction, the loss is also measured
    with the net's own statistics. Write surface.csv to the folder of the run.
    """
    if points % 2 == 0:
        raise UserError(f"--points {points}: expected an odd number, so that the net itself is among the points")

    from resrepro.laboratory import surface as laboratory
    from resrepro.laboratory.stored_net import evenly_spread, open_run
    from resrepro.runtime.device import choose, device_errors

    compute = choose(device, precision)
    stored = open_run(named_run(run, results_dir, "surface"), data_dir, compute)
    some = evenly_spread(stored.images.train_split, images)
    num_points = (points**2 if plane else points) + points
    before = stored.files.surface.exists()
    asked = stored.asked(compute, points=points, plane=plane, images=images, seed=seed)
    with (
        results.unfinished_rows(stored.files.surface, SurfacePoint, asked) as found,
        device_errors(compute, f"surface {run}"),
    ):
        measured = laboratory.surface(
            stored.net, some, compute, num_points=points, plane=plane, seed=seed, skip=len(found.rows)
        )
        with _resumed(found, "points"), console.status("measuring") as status:
            for point in measured:
                found.add(point)
                status.update(f"measured {len(found.rows)} of {num_points} points")
        results.write_measured(stored.files, {stored.files.surface: (SurfacePoint, found.rows)})
    anew = [point for point in found.rows if point.bn == "anew"]
    losses, middle = [point.loss for point in anew], anew[len(anew) // 2]
    say(
        f"{stored.run.label}: loss {middle.loss:.4f} ± {middle.loss_error:.4f} at the net, {max(losses):.3g} at most; "
        f"{some.num_images} training images, {len(found.rows)} points",
    )
    say(f"{stored.files.surface}{REPLACED if before else ''}")


def initialization(
    depths: Annotated[str, typer.Option(help="Build nets with these numbers of layers.")] = "8,14,20,32,44,56,110",
    seeds: Annotated[str, typer.Option(help="Build nets with these seeds.")] = "0,1,2",
    dataset: Annotated[str, typer.Option(help="Take images of this dataset.")] = "cifar10",
    images: Annotated[int, typer.Option(help="Take this many training images, evenly spread.", min=2)] = 64,
    device: Device = "auto",
    precision: PrecisionName = "fp32",
    data_dir: DataDir = DEFAULT_DATA,
    results_dir: WriteDir = DEFAULT_RESULTS,
) -> None:
    """Measure the gradients of untrained nets against depth.

    Build plain and residual nets, with and without BN. Measure how similar the gradients are at points on a line
    between two images (Balduzzi et al. 2017), and how they grow from layer to layer (Yang et al. 2019). Write two CSV
    files and a figure.
    """
    from resrepro.laboratory import initialization as laboratory
    from resrepro.laboratory.stored_net import open_images
    from resrepro.runtime.device import choose, device_errors

    asked, of_seeds = numbers("--depths", depths), numbers("--seeds", seeds)
    for depth in asked:
        if depth < 8 or (depth - 2) % 6:
            raise UserError(f"--depths {depth}: expected numbers of layers 6n+2, such as 8,14,20")
    compute = choose(device, precision)
    x, y, num_classes = open_images(dataset, images, data_dir, compute)
    found: list[laboratory.Measured] = []
    with console.status("measuring") as status, device_errors(compute, "initialization"):
        for net in laboratory.measure(x, y, compute, depths=asked, seeds=of_seeds, num_classes=num_classes):
            found.append(net)
            status.update(f"measured {len(found)} nets, the last of {net.gradients[0].depth} layers")
    print_table(laboratory.tabulate(found))
    for path in laboratory.write(found, results_dir):
        say(path)
