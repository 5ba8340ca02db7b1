"""Commands of the laboratory: what later papers asked of such nets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import rich.table
import typer

from resrepro import results
from resrepro.cli.options import DEFAULT_RESULTS, ReadDir, console
from resrepro.cli.results import OutputDir
from resrepro.files import write_text
from resrepro.paper.curves import published_responses
from resrepro.results.tables import Table

if TYPE_CHECKING:
    from resrepro.laboratory.bn_responses import NetResponses


def responses(
    nets: Annotated[
        list[Path], typer.Argument(metavar="RUN|WEIGHTS...", show_default=False, help="Give folders of runs, or files.")
    ],
    arch: Annotated[str | None, typer.Option(help="Name the architecture of WEIGHTS.")] = None,
    in_order: Annotated[
        bool, typer.Option("--in-order", help="Take the tensors of WEIGHTS in their order, whatever they are called.")
    ] = False,
    output_dir: OutputDir = None,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Draw Fig. 7 from the weights of nets alone, without data.

    Each 3x3 layer's response has the deviation sqrt(mean gamma^2 + var beta) by the parameters of its BN. It is shown
    beside the paper's curve, and beside what a run measured on its images.
    """
    from resrepro.laboratory.bn_responses import responses_of

    found = [responses_of(place, arch, in_order=in_order) for place in nets]
    folder = output_dir or results.figures_folder(results_dir)
    for net in found:
        table = _responses_table(net)
        shown = rich.table.Table(*table.columns, box=None, header_style="bold", title=table.title)
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
        for note in table.notes:
            console.print(note, soft_wrap=True)
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
    table = Table(title=_TITLE, columns=("net", "layer", "name", "std"), rows=tuple(rows), notes=())
    path = folder / "bn-responses.csv"
    write_text(path, table.to_csv(), "--output-dir")
    return path


_TITLE = "Responses of 3x3 layers, from BN's parameters"


def _draw_responses(nets: list[NetResponses], folder: Path) -> Path:
    from resrepro.config.architectures import architecture
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
    save(lambda: bn_responses.draw(lines, FigureData(title=_TITLE, note="", runs={})), path)
    return path
