"""`resrepro summary`: layers, parameters and multiply-adds of the nets."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from resrepro.cli.options import (
    console,
)


def summary(
    arch: Annotated[str | None, typer.Argument(help="One architecture; by default all.")] = None,
) -> None:
    """Count layers, parameters, multiply-adds, sizes.

    These are the columns of Table 1 and Table 6, counted by torch on the nets themselves.
    vgg16 and vgg19 are there to compare with.
    """
    from resrepro.config.architectures import ARCHITECTURES
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
