"""The commands about datasets of image files: data prepare, data check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from resrepro.cli.options import DEFAULT_DATA, DataDir, SkipCorrupt, console, num_workers, say
from resrepro.errors import printable

if TYPE_CHECKING:
    from resrepro.data.dataset import ProgressCallback

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Prepare and check datasets of image files.")

NAMED = 20  # unreadable files that are printed
Dataset = Annotated[
    str,
    typer.Argument(
        metavar="imagenet|imagenette|tiny-imagenet|folder:PATH", show_default=False, help="Name the dataset."
    ),
]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Decode with this many threads; by default, one per core.", min=0)
]


@app.command()
def prepare(
    dataset: Dataset,
    skip_corrupt: SkipCorrupt = False,
    workers: Workers = None,
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Unpack a dataset, and resize its images once.

    Unpack ImageNet's official tar files in DATA_DIR/imagenet into one folder per class. Then pack the images of the
    dataset into a few large files, with a shorter side of at most 480 pixels. Later runs read these files, unless they
    need larger images. To resume after a stop, give the same command again.
    """
    from resrepro.data.dataset import DataOptions
    from resrepro.data.image_files import archives, packing
    from resrepro.data.loading import list_image_files, open_image_folder

    with _progress() as progress:
        root = data_dir / "imagenet"
        if dataset == "imagenet" and any((root / name).exists() for name in (archives.TRAIN, archives.VAL)):
            archives.unpack(root, progress)
        options = DataOptions(
            data_dir=data_dir, num_workers=num_workers(workers), skip_corrupt=skip_corrupt, progress=progress
        )
        folder = list_image_files(dataset, data_dir=data_dir)
        left_out = packing.prepare(folder, dataset, options)
    for name in left_out:
        say(f"left out as corrupt: {printable(name)}")
    found = open_image_folder(dataset, data_dir=data_dir)
    say(f"{found.place}: {len(found.train)} training and {len(found.test)} test images, {len(found.classes)} classes")


@app.command()
def check(
    dataset: Dataset,
    smallest: Annotated[
        int, typer.Option(help="Count the images whose shorter side is below this many pixels.", min=1, max=65535)
    ] = 224,
    workers: Workers = None,
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Decode every image of a dataset, and count them.

    End with exit code 1 if an image cannot be decoded.
    """
    from resrepro.data.dataset import DataOptions
    from resrepro.data.image_files.check import check as check_split
    from resrepro.data.image_files.check import class_counts
    from resrepro.data.loading import load_dataset

    options = DataOptions(data_dir=data_dir, num_workers=num_workers(workers))
    folder = load_dataset(dataset, options, as_files=True).folder
    say(f"{folder.place}: {len(folder.classes)} classes")
    unreadable = 0
    for split, files in (("train", folder.train), ("test", folder.test)):
        with _progress() as progress:
            found = check_split(files, split, replace(options, progress=progress), smallest=smallest)
        fewest, most = class_counts(files, len(folder.classes))
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.kinds.items()))
        a_class = f"{fewest} to {most}" if fewest < most else str(most)
        say(
            f"{split}: {found.num_images} images, {a_class} a class; {kinds or 'none readable'}; "
            f"{found.small} with a shorter side below {smallest} pixels; {len(found.unreadable)} unreadable",
        )
        for line in found.unreadable[:NAMED]:
            say(f"  {line}")
        unreadable += len(found.unreadable)
    if unreadable:
        raise typer.Exit(1)


@contextmanager
def _progress() -> Iterator[ProgressCallback]:
    """Show a bar for each split; a line at each tenth where the output is no terminal."""
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
            say(f"{what}: {done}/{total}")

    with bars:
        yield show
