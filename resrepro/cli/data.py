"""`resrepro data`: prepare and check datasets of image files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from resrepro.cli.options import DEFAULT_DATA, DataDir, console

if TYPE_CHECKING:
    from resrepro.data.dataset import Progress

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Prepare and check image datasets.")

NAMED = 20  # unreadable files that are printed
Dataset = Annotated[str, typer.Argument(metavar="imagenet|imagenette|folder:PATH", show_default=False)]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Threads that decode; by default one for each core.", min=0)
]


@app.command()
def prepare(
    dataset: Dataset,
    skip_corrupt: Annotated[bool, typer.Option("--skip-corrupt", help="Leave out images that are corrupt.")] = False,
    workers: Workers = None,
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Unpack and resize once.

    ImageNet's official tars in DATA_DIR/imagenet become class folders. Of these, or of any tree, the images go into
    few large files, with a shorter side of at most 480 pixels; runs then read those. Stopped at any point, the same
    command goes on.
    """
    from resrepro.data.image_files import archives, packed
    from resrepro.data.image_files.imagenet import open_image_folder

    with _progress() as progress:
        root = data_dir / "imagenet"
        if dataset == "imagenet" and any((root / name).exists() for name in (archives.TRAIN, archives.VAL)):
            archives.unpack(root, progress)
        tree = open_image_folder(dataset, data_dir=data_dir, prepared=False)
        left_out = packed.prepare(
            tree, dataset, data_dir=data_dir, num_workers=_num_workers(workers), skip_corrupt=skip_corrupt,
            progress=progress,
        )  # fmt: skip
    for name in left_out:
        console.print(f"left out as corrupt: {name}", soft_wrap=True)
    found = open_image_folder(dataset, data_dir=data_dir)
    console.print(
        f"{found.place}: {len(found.train)} training and {len(found.test)} test images, {len(found.classes)} classes",
        soft_wrap=True,
    )


@app.command()
def check(
    dataset: Dataset,
    smallest: Annotated[int, typer.Option(help="Count images with a shorter side below this, pixels.")] = 224,
    workers: Workers = None,
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Decode every image and count.

    Ends with exit code 1 where an image cannot be decoded.
    """
    from resrepro.data.image_files.check import check as check_part
    from resrepro.data.image_files.check import class_counts
    from resrepro.data.image_files.imagenet import open_image_folder

    tree = open_image_folder(dataset, data_dir=data_dir)
    console.print(f"{tree.place}: {len(tree.classes)} classes", soft_wrap=True)
    unreadable = 0
    for part, files in (("train", tree.train), ("test", tree.test)):
        with _progress() as progress:
            found = check_part(files, part, smallest=smallest, num_workers=_num_workers(workers), progress=progress)
        fewest, most = class_counts(files, len(tree.classes))
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.kinds.items()))
        console.print(
            f"{part}: {found.num_images} images, {fewest} to {most} a class; {kinds or 'none readable'}; "
            f"{found.small} smaller than {smallest} pixels; {len(found.unreadable)} unreadable",
            soft_wrap=True,
        )
        for line in found.unreadable[:NAMED]:
            console.print(f"  {line}", soft_wrap=True)
        unreadable += len(found.unreadable)
    if unreadable:
        raise typer.Exit(1)


def _num_workers(workers: int | None) -> int:
    from resrepro.runtime.device import num_cores

    return num_cores() if workers is None else workers


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show a bar for each part of the work; where the output is no terminal, a line at each tenth."""
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    bars = Bars(console=console, disable=not console.is_terminal)
    tasks: dict[str, TaskID] = {}
    tenths: dict[str, int] = {}

    def show(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done)
        tenth = 10 * done // total
        if not console.is_terminal and tenth > tenths.get(what, 0):
            tenths[what] = tenth
            console.print(f"{what}: {done}/{total}", soft_wrap=True)

    with bars:
        yield show
