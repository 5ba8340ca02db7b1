"""Commands of the laboratory: what later papers asked of such nets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import rich.table
import typer

from resrepro import results
from resrepro.cli.options import (
    DEFAULT_DATA,
    DEFAULT_RESULTS,
    DataDir,
    Device,
    PrecisionName,
    ReadDir,
    ResultsDir,
    RunName,
    console,
    numbers,
    places_of,
    print_table,
)
from resrepro.cli.results import OutputDir
from resrepro.config.architectures import architecture
from resrepro.errors import UserError
from resrepro.files import write_text
from resrepro.paper.curves import published_responses
from resrepro.results import csv_rows
from resrepro.results.laboratory import (
    BlockGradient,
    GradientCorrelation,
    Lesion,
    PathGradient,
    SurfacePoint,
    laboratory_file,
)
from resrepro.results.status import named_run
from resrepro.results.tables import Table

if TYPE_CHECKING:
    from resrepro.laboratory.bn_responses import NetResponses

REPLACED = ", in place of the one that was there"
RESPONSES_TITLE = "Responses of 3x3 layers, from BN's parameters"
Seed = Annotated[int, typer.Option(help="Draw with this seed.", min=0)]


def responses(
    nets: Annotated[
        list[str], typer.Argument(metavar="RUN|WEIGHTS...", show_default=False, help="Name runs, or give files.")
    ],
    arch: Annotated[str | None, typer.Option(help="Name the architecture of WEIGHTS.")] = None,
    in_order: Annotated[
        bool, typer.Option("--in-order", help="Take the tensors of WEIGHTS in their order, whatever they are called.")
    ] = False,
    output_dir: OutputDir = None,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Draw layer responses from weights alone, without data.

    As in Fig. 7. Each 3x3 layer's response has the deviation sqrt(mean gamma^2 + var beta) by the parameters of its BN.
    It is shown beside the paper's curve, and beside what a run measured on its images.
    """
    from resrepro.laboratory.bn_responses import responses_of

    places = places_of(nets, results_dir, "responses")
    found = [responses_of(place, arch, in_order=in_order) for place in places]
    folder = output_dir or results.figures_folder(results_dir)
    for net in found:
        table = _responses_table(net)
        print_table(table)
    for path in (_write_responses(found, folder), _draw_responses(found, folder)):
        console.print(path, soft_wrap=True)


def _responses_table(net: NetResponses) -> Table:
    """Tabulate a net's layers, beside what was measured and what the paper has, and say how far these are."""
    published = published_responses(net.arch)
    columns = {"from weights": [layer.std for layer in net.layers], "measured": [*net.measured]}
    columns["paper"] = [] if published is None else published.std.tolist()
    columns = {name: values for name, values in columns.items() if len(values) == len(net.layers)}
    ours, notes = np.array(columns["from weights"]), []
    for name in [*columns][1:]:
        apart = ours / np.array(columns[name]) - 1
        notes.append(
            f"from weights over {name}: {100 * apart.mean():+.1f} % on average, "
            f"{100 * np.abs(apart).max():.1f} % at most, layer {net.layers[int(np.abs(apart).argmax())].layer}"
        )
    rows = [
        (str(layer.layer), layer.name, *(f"{value:.3f}" for value in values))
        for layer, *values in zip(net.layers, *columns.values(), strict=True)
    ]
    return Table(title=net.name, columns=("layer", "name", *columns), rows=tuple(rows), notes=tuple(notes))


def _write_responses(nets: list[NetResponses], folder: Path) -> Path:
    rows = [(net.name, str(layer.layer), layer.name, repr(layer.std)) for net in nets for layer in net.layers]
    table = Table(title=RESPONSES_TITLE, columns=("net", "layer", "name", "std"), rows=tuple(rows), notes=())
    path = folder / "bn-responses.csv"
    write_text(path, table.to_csv(), "--output-dir")
    return path


def _draw_responses(nets: list[NetResponses], folder: Path) -> Path:
    from resrepro.figures import bn_responses
    from resrepro.figures.data import FigureData
    from resrepro.figures.files import save

    labels = [architecture(net.arch).label for net in nets]
    lines = [
        bn_responses.NetLine(
            label=label if labels.count(label) == 1 else net.name,
            arch=net.arch,
            layers=[layer.layer for layer in net.layers],
            std=[layer.std for layer in net.layers],
            measured=net.measured,
        )
        for net, label in zip(nets, labels, strict=True)
    ]
    path = folder / "bn-responses.png"
    save(lambda: bn_responses.draw(lines, FigureData(title=RESPONSES_TITLE, note="", runs={})), path)
    return path


def lesions(
    run: RunName,
    images: Annotated[
        int, typer.Option(help="Test on this many test images, evenly spread; paths.csv is of 100.", min=1)
    ] = 2000,
    draws: Annotated[int, typer.Option(help="Draw this many nets for each number of blocks.", min=1)] = 5,
    seed: Seed = 0,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    data_dir: DataDir = DEFAULT_DATA,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Test a trained net without some of its blocks.

    Without each block in turn, without several at random, and with blocks permuted; and the gradient by the length of
    its path (Veit, Wilber, Belongie 2016). Write lesions.csv and paths.csv beside the run.
    """
    from resrepro.laboratory import lesions as laboratory
    from resrepro.laboratory.stored_net import evenly_spread, open_run
    from resrepro.runtime.device import choose, device_errors

    compute = choose(device, precision)
    stored = open_run(named_run(run, results_dir, "lesions"), data_dir, compute)
    test = stored.images.test_split
    found: list[Lesion] = []
    with console.status("testing") as status, device_errors(compute, f"lesions {run}"):
        some = evenly_spread(test, images)
        for lesion in laboratory.lesions(stored.net, some, compute, draws=draws, seed=seed):
            found.append(lesion)
            status.update(f"tested {len(found)} nets")
        paths = [*laboratory.path_gradients(stored.net, test, compute, draws=draws, seed=seed)]
    written = (stored.files.lesions, stored.files.paths)
    before = [file for file in written if file.exists()]
    csv_rows.write_rows(stored.files.lesions, Lesion, found)
    csv_rows.write_rows(stored.files.paths, PathGradient, paths)
    results.add_digests(stored.files, *written)
    title = f"{stored.run.label}, {some.num_images} test images"
    shown = rich.table.Table("blocks", "error (%)", box=None, header_style="bold", title=title)
    for row in found:
        if row.kind in ("whole", "one"):
            shown.add_row("all" if row.kind == "whole" else f"without {row.blocks}", f"{row.error_pct:.2f}")
    console.print(shown)
    for file in written:
        console.print(f"{file}{REPLACED if file in before else ''}", soft_wrap=True)


def surface(
    run: RunName,
    points: Annotated[int, typer.Option(help="Take this many points in each direction, an odd number.", min=3)] = 25,
    plane: Annotated[bool, typer.Option("--plane", help="Take the plane of two directions; by default, one.")] = False,
    images: Annotated[int, typer.Option(help="Take this many training images, evenly spread.", min=2)] = 500,
    seed: Seed = 0,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    data_dir: DataDir = DEFAULT_DATA,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Measure the loss around a trained net.

    Along random directions whose filters have the norms of the net's (Li et al. 2018). BN's statistics are taken anew
    at each point, of the images that the loss is of. Write surface.csv beside the run.
    """
    if points % 2 == 0:
        raise UserError(f"--points {points}: expected an odd number, so that the net itself is among the points")

    from resrepro.laboratory import surface as laboratory
    from resrepro.laboratory.stored_net import evenly_spread, open_run
    from resrepro.runtime.device import choose, device_errors

    compute = choose(device, precision)
    stored = open_run(named_run(run, results_dir, "surface"), data_dir, compute)
    some = evenly_spread(stored.images.train_split, images)
    found: list[SurfacePoint] = []
    num_points = points**2 if plane else points
    with console.status("measuring") as status, device_errors(compute, f"surface {run}"):
        for point in laboratory.surface(stored.net, some, compute, num_points=points, plane=plane, seed=seed):
            found.append(point)
            status.update(f"measured {len(found)} of {num_points} points")
    before = stored.files.surface.exists()
    csv_rows.write_rows(stored.files.surface, SurfacePoint, found)
    results.add_digests(stored.files, stored.files.surface)
    losses = [point.loss for point in found]
    middle = found[len(found) // 2]
    console.print(
        f"{stored.run.label}: loss {middle.loss:.4f} ± {middle.loss_error:.4f} at the net, {max(losses):.3g} at most; "
        f"{some.num_images} training images, {len(found)} points",
        soft_wrap=True,
    )
    console.print(f"{stored.files.surface}{REPLACED if before else ''}", soft_wrap=True)


def initialization(
    depths: Annotated[str, typer.Option(help="Build nets of these numbers of layers.")] = "8,14,20,32,44,56,110",
    seeds: Annotated[str, typer.Option(help="Build nets of these seeds.")] = "0,1,2",
    dataset: Annotated[str, typer.Option(help="Take images of this dataset.")] = "cifar10",
    images: Annotated[int, typer.Option(help="Take this many training images, evenly spread.", min=2)] = 64,
    device: Device = "auto",
    precision: PrecisionName = "fp32",
    data_dir: DataDir = DEFAULT_DATA,
    results_dir: ResultsDir = DEFAULT_RESULTS,
) -> None:
    """Measure the gradients of untrained nets against depth.

    Plain and residual, with and without BN: how alike the gradients are at points of a line between two images
    (Balduzzi et al. 2017), and how they grow from layer to layer (Yang et al. 2019). Write two CSVs, and a figure.
    """
    from resrepro.laboratory.initialization import measure
    from resrepro.laboratory.stored_net import open_images
    from resrepro.runtime.device import choose, device_errors

    asked = numbers("--depths", depths)
    for depth in asked:
        architecture(f"cifar-resnet{depth}")
    compute = choose(device, precision)
    x, y, num_classes = open_images(dataset, images, data_dir, compute)
    correlations: list[GradientCorrelation] = []
    gradients: list[BlockGradient] = []
    with console.status("measuring") as status, device_errors(compute, "initialization"):
        for net in measure(x, y, compute, depths=asked, seeds=numbers("--seeds", seeds), num_classes=num_classes):
            correlations += net.correlations
            gradients += net.gradients
            status.update(f"measured nets of {net.gradients[0].depth} layers")
    files = [laboratory_file(results_dir, name) for name in ("correlations.csv", "block-gradients.csv")]
    csv_rows.write_rows(files[0], GradientCorrelation, correlations)
    csv_rows.write_rows(files[1], BlockGradient, gradients)
    figure = results.figure_file(results_dir, "initialization", "png")
    _draw_initialization(correlations, gradients, figure)
    for file in (*files, figure):
        console.print(file, soft_wrap=True)


def _draw_initialization(correlations: list[GradientCorrelation], gradients: list[BlockGradient], path: Path) -> None:
    """Print how the gradient grows, and draw the figure."""
    import pandas as pd

    from resrepro.figures import initialization as figure
    from resrepro.figures.data import FigureData
    from resrepro.figures.files import save

    along, of_blocks = (pd.DataFrame([dict(row) for row in rows]) for rows in (correlations, gradients))
    near: dict[Any, float] = (
        along[along["lag"] == figure.NEAR].groupby(["kind", "depth"])["correlation"].mean().to_dict()
    )
    factors = figure.growth(of_blocks).groupby(["kind", "depth"]).mean().to_dict()
    shown = rich.table.Table("net", "layers", "correlation", "growth a layer", box=None, header_style="bold")
    for net, correlation in near.items():
        shown.add_row(*map(str, net), f"{correlation:.3f}", f"{factors[net]:.3f}" if net in factors else "")
    console.print(shown)
    note = f"{along['seed'].nunique()} seeds, initialized by fan_in"
    data = FigureData(title="Gradients of untrained nets", note=note, runs={})
    save(lambda: figure.draw(along, of_blocks, data), path)
