"""The commands about nets and weights: summary, evaluate, bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from resrepro.options import DEFAULT_DATA, DataDir, Device, PrecisionName, app, console


@app.command()
def summary(
    arch: Annotated[str | None, typer.Argument(help="One architecture; all of them without it.")] = None,
) -> None:
    """Layers, parameters, multiply-adds, sizes.

    The columns of Table 1 and Table 6, counted by torch on the nets themselves.
    """
    from resrepro.catalog import ARCHITECTURES, architecture
    from resrepro.models.complexity import complexity

    table = Table("architecture", "layers", "parameters", "multiply-adds", "output size", box=None, header_style="bold")
    for name in [arch] if arch else ARCHITECTURES:
        counts = complexity(name)
        sizes = [(stage, f"{c} x {h}x{w}") for stage, (c, h, w) in counts.output_sizes.items()]
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
        side = architecture(arch).image_size
        console.print(f"\ninput   3 x {side}x{side}")
        for stage, size in sizes:
            console.print(f"{stage:8}{size}")


@app.command()
def evaluate(
    weights: Path,
    arch: Annotated[str, typer.Option(help="Such as resnet20.")],
    dataset: Annotated[str, typer.Option(help="cifar10, cifar100, shapes, folder:PATH.")] = "cifar10",
    preprocess: Annotated[
        str, typer.Option(help="pixel-mean (the paper's), or channel-mean-std for weights trained that way.")
    ] = "pixel-mean",
    mean: Annotated[str | None, typer.Option(help="Channel means for channel-mean-std: r,g,b in 0...1.")] = None,
    std: Annotated[str | None, typer.Option(help="Channel standard deviations: r,g,b in 0...1.")] = None,
    device: Device = "auto",
    precision: PrecisionName = "fp32",
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Test loss and error of a weight file.

    Our checkpoints, or anyone's state dict: bare or under 'state_dict', with or without 'module.',
    final layer 'fc' or 'linear'.
    """
    from resrepro import device as devices
    from resrepro.evaluation.foreign import evaluate_weights

    found = evaluate_weights(
        weights, arch=arch, dataset=dataset, data_dir=data_dir, preprocess=preprocess, mean=mean, std=std,
        compute=devices.choose(device, precision),
    )  # fmt: skip
    console.print(f"{weights}: {arch} on {dataset}, test loss {found.loss:.4f}, test error {found.error_pct:.2f} %")


@app.command()
def bench(
    archs: Annotated[list[str] | None, typer.Argument(help="Such as resnet20 resnet56.")] = None,
    dataset: Annotated[str, typer.Option(help="Data that both loops train on.")] = "cifar10",
    device: Device = "auto",
    precision: PrecisionName = "auto",
    data_dir: DataDir = DEFAULT_DATA,
    rounds: Annotated[int, typer.Option(help="How often the two loops alternate.", min=1)] = 5,
    iterations: Annotated[int, typer.Option(help="Iterations of each loop a round.", min=1)] = 25,
) -> None:
    """Speed beside the standard PyTorch loop.

    Images/s of both, end to end on the same data, in turns.
    """
    from resrepro.bench import compare

    compare(
        archs or ["resnet20", "resnet56"], dataset=dataset, data_dir=data_dir, device=device,
        precision=precision, rounds=rounds, iterations=iterations, console=console,
    )  # fmt: skip
