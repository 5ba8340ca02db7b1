"""The command that verifies finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resrepro import results
from resrepro.cli.options import DATA_DIR_VARIABLE, DEFAULT_DATA, DEFAULT_RESULTS, ReadDir, console
from resrepro.errors import UserError
from resrepro.results.paths import RunFiles
from resrepro.results.status import Watch


def verify(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN...]", show_default=False, help="Name runs or folders; by default, all stored."),
    ] = None,
    responses: Annotated[
        bool, typer.Option("--responses", help="Also measure all training images: responses and clean training error.")
    ] = False,
    device: Annotated[
        str, typer.Option("--device", help="Compute on auto (as the run, where it is here), cpu, cuda or cuda:N.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option("--precision", help="Compute in auto (as the run, where it is here), fp32, tf32 or bf16.")
    ] = "auto",
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar=DATA_DIR_VARIABLE, help="Look for datasets in this folder.")
    ] = DEFAULT_DATA,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Verify finished runs: files, errors and predictions.

    Compare the digests of a run's files, and the errors in them, with its record. Where its weights and its dataset are
    there, test the net again, and compare errors and predictions. Nothing is downloaded or written. The exit code is 1
    if something differs.
    """
    asked = _asked(runs or [], results_dir)

    from resrepro.evaluation.verify import Verifier

    verifier = Verifier(data_dir=data_dir, device=device, precision=precision, responses=responses)
    records, num_differing = {}, 0
    for files in asked:
        try:
            record = results.read_record(files)
        except UserError as error:
            _print(files, [f"differs: {error}"])
            num_differing += 1
            continue
        if record is not None:
            records[files] = record
    with console.status("verifying"):
        for files, found in verifier.verify(records):
            num_differing += bool(found.differences)
            equal = [f"as recorded: {'; '.join(found.equal)}"] if found.equal else []
            _print(files, [*(f"differs: {line}" for line in found.differences), *equal, *found.notes])
    console.print(f"{len(asked)} finished run(s), {num_differing} with differences", soft_wrap=True)
    if num_differing:
        raise typer.Exit(1)


def _print(files: RunFiles, lines: list[str]) -> None:
    for line in lines:
        console.print(f"{'/'.join(files.folder.resolve().parts[-3:])}: {line}", soft_wrap=True)


def _asked(words: list[str], results_dir: Path) -> list[RunFiles]:
    """Return the finished runs that the words name, each once, in their order."""
    folders = [word for word in words if (Path(word) / "run.json").is_file()]
    names = [word for word in words if word not in folders]
    found = [RunFiles(folder=Path(folder)) for folder in folders]
    if names or not words:
        found += [files for files in Watch(results_dir, names, "verify").stored() if files.record.exists()]
    return list(dict.fromkeys(found))
