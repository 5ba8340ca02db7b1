"""The command that compares two finished runs image by image."""

from __future__ import annotations

from typing import Annotated

import typer

from resrepro.cli.options import DEFAULT_RESULTS, ReadDir, RunName, print_table, say
from resrepro.errors import UserError
from resrepro.results.status import named_run


def compare(
    first: RunName,
    second: Annotated[str, typer.Argument(metavar="RUN", show_default=False, help="Name the run to compare it with.")],
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Compare two finished runs image by image.

    Print both errors with intervals, the number of images that only one net gets wrong, and McNemar's exact test, from
    the stored predictions. So two nets with one seed each can be compared. No weights and no dataset are needed.
    """
    from resrepro.report import comparison

    runs = [named_run(word, results_dir, "compare") for word in (first, second)]
    if runs[0].folder.resolve() == runs[1].folder.resolve():
        raise UserError(f"compare {first} {second}: expected two runs, and both are {runs[0].folder}")
    found = comparison.compare(*runs)
    names = [files.name for files in runs]
    if names[0] == names[1]:  # of two results folders
        names = [str(files.folder) for files in runs]
    num_images = next(iter(found.values())).num_images
    table = comparison.comparison_table(f"{num_images} test images, single view", found)
    say(f"first:  {names[0]}\nsecond: {names[1]}")
    print_table(table)
