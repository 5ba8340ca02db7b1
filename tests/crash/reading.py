"""Files of runs in which something was changed, and the functions of this process that then read them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crash.breaking import Found, Undisturbed
from crash.kinds import Place, plain
from crash.mutations import MUTATIONS, keep, mutated
from resrepro import results
from resrepro.errors import LONGEST_LINE, UserError
from resrepro.models.saved import read_saved
from resrepro.models.weights import read_metadata, read_net
from resrepro.results.paths import RunFiles
from resrepro.results.status import StoredRuns
from resrepro.results.stored_checks import check_stored

HAVE_A_DIGEST = {"finished": (".csv", ".json", ".pt", ".safetensors"), "killed": (".pt",)}


def by_reading(place: Place, peace: Undisturbed, seed: int, num_mutations: int) -> Iterator[Found]:
    """Change a file of a finished run, or of one that was killed on its way, and read the run.

    Each function must return what it returns in peace, or name the file. Of a run on its way only checkpoints have a
    digest; reading its other files must not fail otherwise than in one line.
    """
    draw = random.Random(f"{place.kind} {seed}")
    for which in HAVE_A_DIGEST:
        place.restore(keep(place, peace, which))
        watch = StoredRuns(place.results, [])
        every = sorted(path for path in place.results.rglob("*") if path.is_file() and path.parent.name == "seed0")
        expected = {path: _values(watch, path) for path in every}
        for _ in range(num_mutations // len(HAVE_A_DIGEST)):
            path, how = draw.choice(every), draw.choice(MUTATIONS)
            before = path.read_bytes()
            path.write_bytes(mutated(before, how, draw))
            what = f"{place.kind}, {which}: {how} in {path.relative_to(place.results)}"
            has_digest = path.name.endswith(HAVE_A_DIGEST[which])
            yield _read(watch, path, what, expected[path], silent_is_wrong=has_digest)
            path.write_bytes(before)
    place.reset()


def _read(watch: StoredRuns, path: Path, what: str, expected: dict[str, Any], *, silent_is_wrong: bool) -> Found:
    try:
        found = _values(watch, path)
    except Exception as error:  # whatever it is, it is not one line
        return Found(what=what, ended="wrong", problem=repr(error))
    differing = [name for name in expected if found.get(name) != expected[name]]
    silent = [name for name in differing if path.name not in str(found.get(name, path.name))]
    problem = "; ".join(f"{name}: {found[name]}, expected {expected[name]}"[:500] for name in silent)
    return Found(what=what, ended="one line" if differing else "the same", problem=problem if silent_is_wrong else "")


def _values(watch: StoredRuns, path: Path) -> dict[str, Any]:
    """Return what is read of a file, and of all runs: values, or lines of errors; by run, and by the word `file`."""
    runs, problems = watch.look(0.0)
    found: dict[str, Any] = {run.name: run for run in runs}
    found |= {str(problem.partition("/seed0")[0]): problem for problem in problems}
    files = RunFiles(folder=path.parent)
    try:
        if path in (files.checkpoint, files.previous_checkpoint):
            found["file"] = plain(read_saved(path))
        elif path == files.asked:
            found["file"] = results.read_asked(files)
        else:
            found["file"] = _whole(files, with_net=path == files.weights)
    except UserError as error:
        assert str(error).isprintable() and len(str(error)) <= LONGEST_LINE
        found["file"] = f"error: {error}"
    return found


def _whole(files: RunFiles, *, with_net: bool) -> Any:
    """Return what `verify` and `evaluate` read of a run."""
    record = results.read_record(files)
    if record is None:
        return results.read_points(files)
    checked = check_stored(files, record)
    if checked.differences:
        raise UserError("; ".join(checked.differences))
    net = plain(read_net(files.weights, record.arch).state_dict()) if with_net else None
    return record, checked, net and read_metadata(files.weights), net
