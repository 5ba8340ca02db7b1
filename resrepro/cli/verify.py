"""The command that verifies finished runs."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from resrepro import results
from resrepro.cli.options import (
    DEFAULT_DATA,
    DEFAULT_RESULTS,
    Json,
    ReadDir,
    SkipCorrupt,
    console,
    data_option,
    print_json,
    say,
)
from resrepro.errors import UserError
from resrepro.results.paths import RunFiles
from resrepro.results.status import named_runs
from resrepro.results.stored_checks import Findings


def verify(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", show_default=False, help="Name runs or folders; by default, all stored."),
    ] = None,
    responses: Annotated[
        bool,
        typer.Option("--responses", help="Also measure responses and clean training error, on all training images."),
    ] = False,
    device: Annotated[
        str, typer.Option("--device", help="Compute on auto (as the run, if possible), cpu, cuda or cuda:N.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option("--precision", help="Compute in auto (as the run, if possible), fp32, tf32 or bf16.")
    ] = "auto",
    data_dir: Annotated[Path, data_option("Look for datasets in this folder.")] = DEFAULT_DATA,
    skip_corrupt: SkipCorrupt = False,
    results_dir: ReadDir = DEFAULT_RESULTS,
    as_json: Json = False,
) -> None:
    """Verify finished runs: files, errors and predictions.

    Compare the digests of a run's files, and the errors in them, with its record. If its weights and its dataset are
    there, test the net again, and compare errors and predictions. Nothing is downloaded or written. The exit code is 1
    if something differs.
    """
    asked = _asked(runs or [], results_dir)

    from resrepro.evaluation.verify import Verifier

    verifier = Verifier(
        data_dir=data_dir, device=device, precision=precision, responses=responses, skip_corrupt=skip_corrupt
    )
    records, unreadable, found = {}, dict[RunFiles, Findings](), dict[RunFiles, Findings]()
    for files in asked:
        try:
            record = results.read_record(files)
        except UserError as error:
            unreadable[files] = Findings(differences=[str(error)])
            continue
        if record is not None:
            records[files] = record
    with nullcontext() if as_json else console.status("verifying"):
        for files, verified in chain(unreadable.items(), verifier.verify(records)):
            found[files] = verified
            if not as_json:
                _print(files, verified)
    num_differing = sum(bool(verified.differences) for verified in found.values())
    if as_json:
        print_json([{"run": files.name, **asdict(verified)} for files, verified in found.items()])
    else:
        num_without = sum(verified.net_left_out for verified in found.values())
        untested = f"; {num_without} net(s) not tested" if num_without else ""
        say(f"{len(asked)} finished run(s), {num_differing} with differences{untested}")
    if num_differing:
        raise typer.Exit(1)


def _print(files: RunFiles, verified: Findings) -> None:
    equal = [f"agrees with its record: {'; '.join(verified.equal)}"] if verified.equal else []
    for line in [*(f"differs: {line}" for line in verified.differences), *equal, *verified.notes]:
        say(f"{files.name}: {line}")


def _asked(words: list[str], results_dir: Path) -> list[RunFiles]:
    """Return the finished runs that the words name, each once, in their order.

    Raises:
        UserError: a word names nothing, or nothing that is finished.
    """
    found = []
    for word in words:
        finished = [files for files in named_runs(word, results_dir, "verify") if files.record.exists()]
        if not finished:
            raise UserError(f"verify: no run of '{word}' is finished in {results_dir}")
        found += finished
    if not words:
        found = [files for files in results.stored_runs(results_dir) if files.record.exists()]
    return list(dict.fromkeys(found))
