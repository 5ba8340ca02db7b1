"""What surrounds a run: odd names, links, a strict umask, a clock that goes backwards, readers while it writes."""

from __future__ import annotations

import datetime
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from resrepro.results.paths import stored_runs
from resrepro.results.status import StoredRuns
from resrepro.training import session
from support.processes import run

SHORT = (("total_iters = 12", "total_iters = 2\nbn_average_batches = 1"), ("[6, 9]", "[1]"), ("s = 5", "s = 1"))
NAMES = ["two words", "ü 漢 字", "*[a]?{x} %s '\"$HOME", "link"]  # the last one leads to the one before


class Backwards(datetime.datetime):
    """Is a clock that a machine sets back by a minute at each look."""

    seconds = itertools.count(1e9, -60)

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Backwards:
        return cls.fromtimestamp(next(cls.seconds), tz)


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Gives a results folder in all of it; there is no folder for temporary files, either."""
    *names, link = NAMES
    folder = tmp_path.joinpath(*names)
    folder.mkdir(parents=True)
    (tmp_path / link).symlink_to(folder)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "no such folder"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "no such folder"))
    monkeypatch.setattr(time, "time", lambda: next(Backwards.seconds))
    monkeypatch.setattr(session, "datetime", SimpleNamespace(datetime=Backwards, UTC=datetime.UTC))
    umask = os.umask(0o077)
    yield tmp_path / link
    os.umask(umask)


@pytest.mark.usefixtures("few_images")
def test_a_run_and_what_reads_it_do_not_mind_their_surroundings(
    toml: Callable[..., Path], surroundings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, replace, seen = StoredRuns(surroundings, []), Path.replace, []

    def look() -> None:
        runs, problems = watch.look(0.0)
        assert not problems
        seen.extend(found.iteration for found in runs)

    def look_and_replace(path: Path, target: Path) -> Path:
        look()  # between two of these calls a checkpoint has no name
        replace(path, target)
        look()
        return target

    monkeypatch.setattr(Path, "replace", look_and_replace)
    where = ("--results-dir", surroundings)
    run("run", toml(*SHORT), "--only", "plain8", "--device", "cpu", *where)
    monkeypatch.setattr(Path, "replace", replace)
    assert seen == sorted(seen) and {*seen} == {0, 1, 2}
    for words in (("list",), ("plot", toml(*SHORT)), ("report", "--brief"), ("table", 6), ("watch",)):
        run(*words, *where)
    run("export", "shapes/plain8/seed0", "--to", "safetensors", "--output", surroundings / "my net.safetensors", *where)
    (files,) = stored_runs(surroundings)
    assert {path.stat().st_mode & 0o077 for path in files.folder.rglob("*")} == {0}
    assert not [*surroundings.rglob("*.tmp")]
