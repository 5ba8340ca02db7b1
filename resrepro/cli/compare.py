"""The command that compares two finished runs image by image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resrepro.cli.options import DEFAULT_RESULTS, ReadDir, console, print_table
from resrepro.errors import UserError
from resrepro.results.paths import RunFiles
from resrepro.results.status import Watch


def compare(
    first: Annotated[str, typer.Argument(metavar="RUN", show_default=False, help="Name a run, or its folder.")],
    second: Annotated[str, typer.Argument(metavar="RUN", show_default=False, help="Name the run to compare it with.")],
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Compare two finished runs image by image.

    From their predictions for each test image: both errors with intervals, how many images one net alone gets wrong,
    and McNemar's exact test. So two nets of one seed each can be compared. Needs neither weights nor a dataset.
    """
    from resrepro.report import comparison

    runs = [_find(word, results_dir) for word in (first, second)]
    if runs[0].folder.resolve() == runs[1].folder.resolve():
        raise UserError(f"compare {first} {second}: expected two runs, and both are {runs[0].folder}")
    found = comparison.compare(*runs)
    names = ["/".join(files.folder.resolve().parts[-3:]) for files in runs]
    num_images = next(iter(found.values())).num_images
    table = comparison.comparison_table(f"{num_images} test images, single view", found)
    console.print(f"first:  {names[0]}\nsecond: {names[1]}", soft_wrap=True)
    print_table(table)


def _find(word: str, results_dir: Path) -> RunFiles:
    """Return the one stored run that a word names: a folder, or a name below the results folder.

    Raises:
        UserError: it names none, or several.
    """
    if (Path(word) / "run.json").is_file():
        return RunFiles(folder=Path(word))
    found = Watch(results_dir, [word], "compare").stored()
    found = [files for files in found if files.folder.parent.name == word] or found
    if len(found) != 1:
        names = [files.folder.relative_to(results_dir).as_posix() for files in found]
        of_these = f"name one of {', '.join(names)}" if names else "train it first"
        raise UserError(f"compare {word}: expected one run, got {len(found)}; {of_these}")
    return found[0]
