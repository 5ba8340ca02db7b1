"""Files of runs in which something was changed, and the functions of this process that then read them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from crash.breaking import Found, Undisturbed
from crash.kinds import Place, plain
from crash.mutations import MUTATIONS, keep, mutated
from resrepro import results
from resrepro.errors import LONGEST_LINE, UserError
from resrepro.models.saved import read_saved
from resrepro.models.weights import read_metadata, read_net
from resrepro.results.paths import RunFiles, stored_runs
from resrepro.results.status import Watch
from resrepro.results.stored_checks import check_stored

HAVE_A_DIGEST = {"finished": (".csv", ".json", ".pt", ".safetensors"), "killed": (".pt",)}


def by_reading(place: Place, peace: Undisturbed, seed: int, num_mutations: int) -> Iterator[Found]:
    """Change a file of a finished run, or of one that was killed on its way, and read all files.

    Each function must return what it returns in peace, or name the file. Of a run on its way only checkpoints have a
    digest; reading its other files must not fail otherwise than in one line.
    """
    draw = random.Random(f"{place.kind} {seed}")
    for which in HAVE_A_DIGEST:
        place.restore(keep(place, peace, which))
        every = sorted(path for path in place.results.rglob("*") if path.is_file() and path.parent.name == "seed0")
        watch = Watch(place.results, [])
        expected = _values(watch)
        for _ in range(num_mutations // len(HAVE_A_DIGEST)):
            path, how = draw.choice(every), draw.choice(MUTATIONS)
            before = path.read_bytes()
            after = mutated(before, how, draw)
            path.write_bytes(after)
            strict = after != before and path.name.endswith(HAVE_A_DIGEST[which])
            yield _read(
                watch, f"{place.kind}, {which}: {how} in {path.relative_to(place.results)}", expected, path, strict
            )
            path.write_bytes(before)
    place.reset()


def _read(watch: Watch, what: str, expected: dict[str, Any], path: Path, strict: bool) -> Found:
    try:
        found = _values(watch)
    except Exception as error:  # whatever it is, it is not one line
        return Found(what=what, ended="wrong", problem=repr(error))
    differing = [name for name in expected if found.get(name) != expected[name]]
    named = [name for name in differing if path.name in str(found.get(name, path.name))]
    silent = [f"{name}: {found[name]}, expected {expected[name]}" for name in differing if strict and name not in named]
    return Found(what=what, ended="one line" if named else "the same", problem="; ".join(silent)[:1000])


def _values(watch: Watch) -> dict[str, Any]:
    """Return what each function reads, by the file or run: a value, or the line of an error."""
    found: dict[str, Any] = {}

    def read(name: str, function: Callable[[], Any]) -> None:
        try:
            found[name] = function()
        except UserError as error:
            assert str(error).isprintable() and len(str(error)) <= LONGEST_LINE
            found[name] = f"error: {error}"

    runs, problems = watch.look(0.0)
    found |= {run.name: run for run in runs} | {problem.partition(":")[0]: problem for problem in problems}
    for files in stored_runs(watch.results_dir):
        read(f"{files.folder}, asked", lambda files=files: results.read_asked(files))  # type: ignore[misc]
        read(f"{files.folder}, whole", lambda files=files: _whole(files))  # type: ignore[misc]
        for path in (files.checkpoint, files.previous_checkpoint):
            if path.exists():
                read(str(path), lambda path=path: plain(read_saved(path)))  # type: ignore[misc]
    return found


def _whole(files: RunFiles) -> Any:
    """Return what `verify` and `evaluate` read of a run."""
    record = results.read_record(files)
    if record is None:
        return results.read_points(files)
    checked = check_stored(files, record)
    if checked.differences:
        raise UserError("; ".join(checked.differences))
    net = read_net(files.weights, record.arch)
    return record, checked, read_metadata(files.weights), plain(net.state_dict())
