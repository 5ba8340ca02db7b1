"""`resrepro summary`: layers, parameters and multiply-adds of the nets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from resrepro.cli.options import Json, console, print_json, print_table, say
from resrepro.config.architectures import ARCHITECTURES, VGG_LABELS, Counts, architecture, counted_nets
from resrepro.results.tables import Table


def summary(
    arch: Annotated[
        str | None, typer.Argument(metavar="ARCH", show_default=False, help="Name one architecture; by default, all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Count the layers, parameters and multiply-adds of nets.

    These are the numbers of Table 1 and Table 6, counted from the nets themselves. vgg16 and vgg19 are included for
    comparison.
    """
    found = {name: _counts(name) for name in ([arch] if arch is not None else [*ARCHITECTURES, *VGG_LABELS])}
    if as_json:
        print_json([{"arch": name, **asdict(counts)} for name, counts in found.items()])
        return
    columns = ("architecture", "layers", "parameters", "multiply-adds", "output sizes")[: 4 if arch else 5]
    rows = []
    for name, counts in found.items():
        sizes = " ".join(f"{h}" for _, h, _ in counts.output_sizes.values())
        cells = str(counts.num_layers), f"{counts.num_parameters:,}", f"{counts.num_multiply_adds:.2e}", sizes
        rows.append((name, *cells)[: len(columns)])
    print_table(Table(columns=columns, rows=tuple(rows)))
    if arch:
        side = 224 if arch in VGG_LABELS else architecture(arch).image_size
        console.print(f"\ninput   3 x {side}x{side}")
        for stage, (c, h, w) in found[arch].output_sizes.items():
            console.print(f"{stage:8}{c} x {h}x{w}")
    else:
        ours, vgg = found["resnet152"], found["vgg19"]
        say(
            f"\nResNet-152 is {ours.num_layers / vgg.num_layers:.1f} times as deep as VGG-19 and has "
            f"{ours.num_multiply_adds / vgg.num_multiply_adds:.2f} times its multiply-adds "
            f"({ours.num_multiply_adds / 1e9:.1f}e9 and {vgg.num_multiply_adds / 1e9:.1f}e9)",
        )


def _counts(arch: str) -> Counts:
    """Return the counts of a net: those in the package, or counted now, which takes the seconds that torch takes."""
    if arch in counted_nets():
        return counted_nets()[arch]
    from resrepro.models.complexity import complexity

    counts = complexity(arch)
    return Counts(**{name: getattr(counts, name) for name in Counts.__dataclass_fields__})
