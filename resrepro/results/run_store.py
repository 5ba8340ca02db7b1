"""Read and write the files of runs; `paths` names them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError

from resrepro.config.run import Run, name_suffix
from resrepro.config.strict import StrictModel, first_mistake
from resrepro.errors import UserError
from resrepro.files import exclusive, user_errors, write_text
from resrepro.results import csv_rows, same_run
from resrepro.results.digests import RECORD, record_sha256, sha256, values_sha256
from resrepro.results.evaluations import read_evaluations
from resrepro.results.paths import RunFiles, ensembles_file, run_files
from resrepro.results.records import CurvePoint, Evaluation, RunRecord


def read_points(files: RunFiles) -> list[CurvePoint]:
    """Read the rows of `curves.csv`, also while the run goes on.

    Raises:
        UserError: the file is damaged, or its iterations do not increase.
    """
    points = csv_rows.read_rows(files.curves, CurvePoint, torn=True)
    for number, (before, point) in enumerate(pairwise(points), start=3):
        if point.iteration <= before.iteration:
            raise UserError(
                f"{files.curves}:{number}: iteration {point.iteration} after {before.iteration}, expected a later one; "
                f"{csv_rows.mend(files.curves)}"
            )
    return points


def write_asked(files: RunFiles, run: Run) -> None:
    """Write to `asked.json` what is trained, at the start of a run.

    Raises:
        UserError: the file cannot be written.
    """
    write_text(files.asked, run.model_dump_json(indent=2) + "\n")


def read_asked(files: RunFiles) -> Run | None:
    """Read what is trained; return None where the run is finished, or no file says it.

    Raises:
        UserError: `asked.json` is damaged.
    """
    try:
        return Run.model_validate_json(files.asked.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(f"{files.asked}: damaged; type the run's command again and it is written anew") from error


def read_record(files: RunFiles) -> RunRecord | None:
    """Read the record of a run, with its evaluations and image size; return None where the run is not finished.

    Raises:
        UserError: `run.json` or `evaluations.json` is damaged.
    """
    if not files.record.exists():
        return None
    mend = "restore it, or delete it and run again (from the checkpoint beside it, if there is one)"
    content = files.record.read_bytes()
    try:
        record = RunRecord.model_validate_json(content)
    except ValidationError as error:
        raise UserError(f"{files.record}: not a valid record: {first_mistake(error)}; {mend}") from error
    own = record.sha256.get(RECORD)  # older ones have none
    if own is not None and own != record_sha256(json.loads(content)):
        raise UserError(f"{files.record}: damaged, for its SHA-256 is not the one in it; {mend}")
    current = [e for e in read_evaluations(files.evaluations) if e.finished_at == (record.finished_at,)]
    return record.model_copy(update={"evaluations": tuple(current), "image_size": _image_size(files, record)})


def _image_size(files: RunFiles, record: RunRecord) -> int | None:
    """Return the size of the images, pixels, if the folder's name says that it is not the experiment's own."""
    crop, resize = record.recipe.get("scale_crop"), record.recipe.get("resize")
    size: int | None = crop.get("size") if isinstance(crop, dict) else resize
    named = record.name + name_suffix(size, record.schedule_scale)
    return size if size is not None and files.folder.resolve().parent.name == named else None


def ensembles(results_dir: Path, dataset: str) -> list[Evaluation]:
    """Read the recorded ensembles; those are left out of which a run was trained again, or removed, since.

    Raises:
        UserError: a file is damaged.
    """

    def current(member: str) -> str | None:
        record = read_record(RunFiles(folder=results_dir / member))
        return record.finished_at if record else None

    every = read_evaluations(ensembles_file(results_dir, dataset))
    return [e for e in every if tuple(map(current, e.members)) == e.finished_at]


def write_record(files: RunFiles, record: RunRecord, kept: Collection[str] = ()) -> RunRecord:
    """Write the record, with the digests of what the run wrote; not if it is there and says the same.

    What only a run in progress has is removed before: what it asked for, and the checkpoint before the last.

    Args:
        kept: names of files that were there before: the digests that the record has of them stay, as do those of what
            was measured after the run.

    Returns:
        The record with its digests.

    Raises:
        UserError: the file cannot be written.
    """
    own = [path for path in (*files.csvs, files.weights) if path.name not in csv_rows.MEASURED_BY]
    digests = {path.name: sha256(path) for path in own if path.exists()}
    before = {k: v for k, v in record.sha256.items() if k in {*kept, *csv_rows.MEASURED_BY}}
    record = record.model_copy(update={"sha256": digests | before})
    with user_errors(files.folder):  # before the record is there, after which nobody would remove them
        files.asked.unlink(missing_ok=True)
        files.previous_checkpoint.unlink(missing_ok=True)
    _write_signed(files, record)
    return record


def write_measured(files: RunFiles, measured: Mapping[Path, tuple[type[StrictModel], Sequence[StrictModel]]]) -> None:
    """Write what was measured after a run, and the digests of these files in its record; the others stay as they are.

    A process that is killed meanwhile leaves files without digests, and none with a wrong one.

    Args:
        measured: the columns and the rows of each file.

    Raises:
        UserError: the record is missing or damaged, a file cannot be written, or another process writes to the run for
            long.
    """
    locked = f"{files.folder}: another process writes to this run; wait for it, and measure again"
    with exclusive(files.lock, lambda: UserError(locked), wait_s=60):
        record = read_record(files)
        if record is None:
            raise UserError(f"{files.record}: missing since the run was opened; restore it, and measure again")
        names = {path.name for path in measured}
        kept = {name: digest for name, digest in record.sha256.items() if name not in names}
        _write_signed(files, record.model_copy(update={"sha256": dict(kept)}))
        for path, (model, rows) in measured.items():
            csv_rows.write_rows(path, model, rows)
        digests = {path.name: sha256(path) for path in measured}
        _write_signed(files, record.model_copy(update={"sha256": kept | digests}))


def _write_signed(files: RunFiles, record: RunRecord) -> None:
    """Write the record with its own digest, unless it is there and says the same."""
    record.sha256[RECORD] = record_sha256(record.model_dump(mode="json"))
    text = json.dumps(record.model_dump(mode="json"), indent=2) + "\n"
    if not files.record.exists() or files.record.read_bytes() != text.encode():
        write_text(files.record, text)


def weights_metadata(run: Run, record: RunRecord, num_classes: int) -> dict[str, str]:
    """Return what `weights.safetensors` says of the run beside its weights."""
    return {
        "run": run.path.as_posix(),
        "arch": run.arch,
        "dataset": run.dataset,
        "num_classes": str(num_classes),
        "recipe_sha256": values_sha256(run.recipe.model_dump(mode="json", exclude_defaults=True)),
        "commit": record.commit or "",
        "final_test_error_pct": repr(record.final_test_error_pct),
    }


def read_finished(results_dir: Path, run: Run) -> RunRecord | None:
    """Read the record of a run; return None where the run is not finished.

    Raises:
        UserError: the record is damaged, or is that of another run.
    """
    files = run_files(results_dir, run)
    record = read_record(files)
    if record is not None:
        same_run.check(same_run.of_record(record), run, files.record)
    return record


def read_whole(results_dir: Path, run: Run) -> RunRecord | None:
    """Read the record of a run that is finished and whose `curves.csv` is whole; return None for any other.

    Raises:
        UserError: as `read_finished` and `lacks_rows`.
    """
    record = read_finished(results_dir, run)
    return None if record is None or lacks_rows(run_files(results_dir, run), record) else record


def read_complete(results_dir: Path, run: Run) -> RunRecord | None:
    """Read the record of a run for which nothing is left to do: it is whole, and so are the CSVs of its analyses.

    Raises:
        UserError: as `read_whole`.
    """
    record = read_whole(results_dir, run)
    return None if record is None or lacks_analyses(run_files(results_dir, run), record) else record


def read_finished_seeds(results_dir: Path, runs: list[Run]) -> tuple[dict[Run, RunRecord], dict[Run, str]]:
    """Read the records of all seeds of one run, also of seeds that are stored and not declared.

    Args:
        runs: differ in their seed alone.

    Returns:
        The records by run, and by run what is wrong with those that cannot be read, one line each.
    """
    records, problems = {}, {}
    for run in with_stored_seeds(results_dir, runs):
        try:
            record = read_finished(results_dir, run)
        except (UserError, OSError) as error:
            problems[run] = str(error)
            continue
        if record is not None:
            records[run] = record
    return records, problems


def lacks_rows(files: RunFiles, record: RunRecord) -> bool:
    """Tell whether `curves.csv` of a finished run ends before the run's last iteration.

    Raises:
        UserError: it does, and there is no checkpoint to repair it from.
    """
    points = read_points(files)
    if record.status == "diverged" or (points and points[-1].iteration == record.recipe["total_iters"]):
        return False
    if not files.has_checkpoint:
        raise UserError(
            f"{files.curves}: ends at iteration {points[-1].iteration if points else 0} of "
            f"{record.recipe['total_iters']}, and there is no checkpoint to repair it from; restore it, or delete "
            f"{files.folder} to train the run again"
        )
    return True


def lacks_analyses(files: RunFiles, record: RunRecord) -> bool:
    """Tell whether a finished run with a checkpoint lacks what is made from it: an analysis, or its weights."""
    needed = [files.gradients, files.responses, files.predictions, files.weights]
    needed += [files.identity] if record.start_from else []
    missing = any(not path.exists() for path in needed)
    return missing and record.status == "finished" and files.has_checkpoint


def with_stored_seeds(results_dir: Path, runs: list[Run]) -> list[Run]:
    """Return runs that differ in their seed alone, and those with the further seeds that are stored beside them."""
    seeds = {run.seed: run for run in runs}
    for folder in (results_dir / runs[0].path).parent.glob("seed*"):
        number = folder.name.removeprefix("seed")
        if number.isdecimal() and int(number) not in seeds:
            seeds[int(number)] = runs[0].replace(seed=int(number))
    return [seeds[seed] for seed in sorted(seeds)]
