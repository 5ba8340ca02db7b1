"""Define the console, and the options that several commands share."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import rich.table
import typer
from rich.console import Console

from resrepro.config import datasets
from resrepro.config.recipe import MAX_RESIZE
from resrepro.config.run import MAX_SEED
from resrepro.errors import UserError
from resrepro.results import paths
from resrepro.results.status import named_run
from resrepro.results.tables import Table

console = Console(highlight=False, markup=False)

DEFAULT_RESULTS = paths.DEFAULT_RESULTS
DEFAULT_DATA = datasets.DEFAULT_DATA
MAX_RANGE = 1000


def _path(option: str, given: str | Path) -> Path:
    """Read an option that names a folder, which need not be there.

    Raises:
        UserError: it is empty, or a file.
    """
    if not str(given):
        raise UserError(f"{option} '': empty; expected a folder")
    path = Path(given)
    if path.exists() and not path.is_dir():
        raise UserError(f"{option} {path}: a file; expected a folder: choose another {option}")
    return path


def _results(given: str | Path) -> Path:
    return _path("--results-dir", given)


def _stored(given: str | Path) -> Path:
    path = _results(given)
    if path != DEFAULT_RESULTS and not path.is_dir():
        raise UserError(f"--results-dir {path}: no such folder; expected one in which runs are stored")
    return path


def output_option(help: str) -> Any:
    """Define the option that names the folder that files are written to."""
    return typer.Option("--output-dir", parser=partial(_path, "--output-dir"), metavar="DIRECTORY", help=help)


def data_option(help: str) -> Any:
    """Define the option that names the folder of datasets."""
    return typer.Option(
        "--data-dir", envvar=datasets.DATA_DIR_VARIABLE, parser=partial(_path, "--data-dir"), metavar="DIRECTORY",
        help=help,
    )  # fmt: skip


ResultsDir = Annotated[
    Path, typer.Option("--results-dir", help="Store runs in this folder.", parser=_results, metavar="DIRECTORY")
]
WriteDir = Annotated[
    Path, typer.Option("--results-dir", help="Write results to this folder.", parser=_results, metavar="DIRECTORY")
]
ReadDir = Annotated[
    Path, typer.Option("--results-dir", help="Read runs from this folder.", parser=_stored, metavar="DIRECTORY")
]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", show_default=False, help="Name a stored run, such as resnet20 or cifar10/resnet20/seed0."
    ),
]
NetNames = Annotated[
    list[str], typer.Argument(metavar="RUN|WEIGHTS", show_default=False, help="Name runs, or give files.")
]
OutputDir = Annotated[
    Path | None, output_option("Write to this folder; by default, to figures/ in the folder of the results.")
]
DataDir = Annotated[Path, data_option("Look for datasets in this folder, and download them to it.")]
Device = Annotated[str, typer.Option("--device", help="Compute on auto (CUDA, else CPU), cpu, cuda or cuda:N.")]
Devices = Annotated[
    str,
    typer.Option(
        "--device", help="Compute on auto (every GPU, else the CPU), cpu, cuda, or certain GPUs, such as cuda:0,cuda:2."
    ),
]
Processes = Annotated[
    int,
    typer.Option("--processes", help="On a CPU, train in this many processes with equal shares of the cores.", min=1),
]
PrecisionName = Annotated[str, typer.Option("--precision", help="Compute in auto, fp32, tf32 or bf16.")]
Jobs = Annotated[
    str,
    typer.Option(
        "--jobs", help="Train this many runs at once on each device; auto: as many as save time and fit in memory."
    ),
]


def _scale(scale: float) -> float:
    if not math.isfinite(scale):
        raise UserError(f"--schedule-scale {scale:g}: expected more than 0 and at most 1, such as 0.05")
    return scale


Scale = Annotated[
    float,
    typer.Option(
        "--schedule-scale",
        callback=_scale,
        help="Shorten the schedule to this fraction, such as 0.05; the run gets its own name.",
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        "--image-size",
        help="Crop to fewer pixels than ImageNet's 224, such as 64; the run gets its own name.",
        min=8,
    ),
]
Resize = Annotated[
    int | None,
    typer.Option(
        "--resize",
        help="Make small squares of images of any size, for CIFAR's recipe: resize the shorter side to this many "
        "pixels, such as 32, and keep the middle; the run gets its own name.",
        min=8,
        max=MAX_RESIZE,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        help="Decode image files with this many threads per run; by default, as many as suit the cores.",
        min=0,
    ),
]
SkipCorrupt = Annotated[
    bool, typer.Option("--skip-corrupt", help="Leave out images that cannot be decoded, and name them.")
]
InOrder = Annotated[
    bool,
    typer.Option("--in-order", help="Match the tensors of WEIGHTS by their order, not by the names of their layers."),
]
DatasetName = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="Use another dataset: cifar10, cifar100, shapes, imagenet, imagenette, tiny-imagenet or folder:PATH.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print only JSON.")]


def print_json(value: Any) -> None:
    """Print a value as JSON, whatever the terminal's width and colors."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: object) -> None:
    """Print a text without breaking its lines, however narrow the terminal is."""
    console.print(text, soft_wrap=True)


def print_table(found: Table) -> None:
    """Print a table in the width of the terminal: cells wrap between words; if they cannot, each row is a paragraph."""
    columns = list(zip(found.columns, *found.rows, strict=True))
    least = [max(len(word) for text in texts for word in text.split() or [""]) for texts in columns]
    widths = [max(map(len, texts)) for texts in columns]
    least[0] = widths[0]
    room = console.width - len(widths) + 1  # a space between two
    while sum(widths) > room and widths != least:
        widest = max(range(len(widths)), key=lambda index: (widths[index] > least[index], widths[index]))
        widths[widest] -= 1
    if sum(widths) > room or not found.rows:
        if found.title:
            console.print(found.title, style="italic")
        for row in found.rows:
            cells = [f"{column} {cell}" for column, cell in zip(found.columns[1:], row[1:], strict=True) if cell]
            console.print(f"{row[0]}: {'; '.join(cells)}")
    else:
        shown = rich.table.Table(
            box=None, header_style="bold", title=found.title or None, padding=(0, 1, 0, 0), pad_edge=False
        )
        for name, width in zip(found.columns, widths, strict=True):
            shown.add_column(name, width=width)
        for row in found.rows:
            shown.add_row(*row)
        console.print(shown)
    for note in found.notes:
        say(note.replace("`", ""))


def num_workers(asked: int | None) -> int:
    """Return how many threads decode image files: as many as are asked for, or one per core."""
    from resrepro.runtime.machine import num_cores

    return num_cores() if asked is None else asked


def places_of(words: Sequence[str], results_dir: Path, command: str) -> list[Path]:
    """Return what each word names: a file, or the folder of a stored run.

    Raises:
        UserError: a word names neither, or several runs.
    """
    return [
        Path(word) if Path(word).exists() else named_run(word, results_dir, command, "file or run").folder
        for word in words
    ]


def numbers(option: str, text: str) -> tuple[int, ...]:
    """Read numbers and ranges separated by commas, each number once: `0,2,4-6` -> (0, 2, 4, 5, 6).

    Raises:
        UserError: one of them is no integer, or negative, or too large; or a range is empty, or long.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,99})\s*(?:-\s*(\d{1,99})\s*)?", part, re.ASCII)
        if match is None:
            raise UserError(f"{option} {text}: expected integers separated by commas, such as 0,1,2 or 0-4")
        first, last = int(match[1]), int(match[2] or match[1])
        if last > MAX_SEED:
            raise UserError(f"{option} {text}: expected integers from 0 to {MAX_SEED}")
        if not 0 <= last - first < MAX_RANGE:
            raise UserError(f"{option} {text}: expected a range of 1 to {MAX_RANGE} integers, such as 0-4")
        found += range(first, last + 1)
    return tuple(dict.fromkeys(found))


def duration(seconds: float) -> str:
    """Write a number of seconds as `2d03h`, `3h05m` or `4m08s`."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    return f"{days}d{h:02}h" if days else f"{hours}h{m:02}m" if hours else f"{m}m{s:02}s"


def told_apart(names: list[str], width: int) -> list[str]:
    """Shorten names of runs to this width so that they stay distinct: without dataset, without seed, then with `…`."""
    for parts in (slice(None), slice(-2, None), slice(-2, -1)):
        kept = ["/".join(name.split("/")[parts]) for name in names]
        if len({*kept}) < len(kept) or not all(kept):
            break
        names = kept
        if max(map(len, names)) <= width:
            return names
    heads = sorted(range(1, max(2, width - 1)), key=lambda head: abs(head - width // 2))
    cut = [
        [name if len(name) <= width else f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}" for name in names]
        for head in heads
    ]
    return next((found for found in cut if len({*found}) == len(found)), cut[0])
