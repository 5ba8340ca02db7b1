"""Read how far runs are from their files. It writes nothing, takes no lock and imports no torch."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from resrepro import results
from resrepro.config.run import Run
from resrepro.config.toml_files import experiment_names, find_experiment
from resrepro.errors import UserError, did_you_mean, printable
from resrepro.results import same_run
from resrepro.results.lock import is_locked
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint, RunRecord

RATE_POINTS = 10  # the ETA's rate is that of the last points: another machine may have trained the first
STORED = re.compile(r"(.+?)(?:-\d+px)?(?:-x(\d+(?:\.\d+)?(?:e-\d+)?))?")  # Run.stored_name: its name and its scale


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """Says how far one run is.

    Args:
        name: its folder below the results directory.
        points: its curve so far.
        record: of a finished or diverged run, else None.
        total_iters: its last iteration; None where neither its files nor an experiment tell.
        quiet_s: seconds since one of its files was written.
        eta_s: seconds until its last iteration; None where it is not in training, or too little is known.
        problem: of a damaged run: what is wrong with its files and how to fix it, in one line.
    """

    name: str
    state: Literal["not started", "training", "stopped", "finished", "diverged", "damaged"]
    points: list[CurvePoint] = field(default_factory=list)
    record: RunRecord | None = None
    total_iters: int | None = None
    quiet_s: float = 0.0
    eta_s: float | None = None
    problem: str = ""

    @property
    def iteration(self) -> int:
        """Return the iteration of its last curve point; of a diverged run, the one at which it diverged."""
        if self.record is not None and self.record.diverged_iter is not None:
            return self.record.diverged_iter
        return self.points[-1].iteration if self.points else 0

    def __str__(self) -> str:
        """Return the state in words, such as `finished` or `stopped at iteration 500`."""
        begun = self.state in ("training", "stopped", "diverged") and self.iteration > 0
        return f"{self.state} at iteration {self.iteration}" if begun else self.state


def run_status(results_dir: Path, run: Run) -> RunStatus:
    """Read how far a run is. It is damaged also where the record in its place is that of another run."""
    return _read(results.run_files(results_dir, run), str(run), time.time(), run)


class StoredRuns:
    """Finds the stored runs that are asked for: all, or those that `words` name.

    Args:
        words: experiments, TOML files, or runs: `resnet20`, `resnet20/seed0`, `cifar10/resnet20`,
            `cifar10/resnet20/seed0`, `cifar10`.
        command: whose words they are, for the error.
        what: what a word may name, for the error.

    Raises:
        UserError: a word names nothing.
    """

    def __init__(
        self, results_dir: Path, words: list[str], command: str = "watch", what: str = "experiment or run"
    ) -> None:
        self.results_dir = results_dir
        self.all = not words
        words = [w if w.endswith(".toml") else w.removeprefix(f"{results_dir}/").rstrip("/") for w in words]
        shipped = [find_experiment(name) for name in experiment_names()]
        named = [find_experiment(word) for word in words if word in experiment_names() or word.endswith(".toml")]
        self._declared = [run for experiment in (*named, *shipped) for run in experiment.runs]
        self._names = {*words, *(name for experiment in named for name in experiment.run_names())}
        stored = set[str]().union(*map(self._called, results.stored_runs(results_dir)))
        known = [*sorted(stored), *sorted({*experiment_names(), *(run.name for run in self._declared)} - stored)]
        for word in words:
            if word not in known and not word.endswith(".toml"):
                hint = "" if Path(word).is_absolute() else did_you_mean(word, known)
                raise UserError(f"{command}: there is no {what} '{word}'{hint}")

    def files(self) -> list[RunFiles]:
        """Return the files of the runs that are asked for."""
        every = results.stored_runs(self.results_dir)
        return [files for files in every if not self._names or self._names & self._called(files)]

    def look(self, now: float) -> tuple[list[RunStatus], list[str]]:
        """Read how far the runs are.

        Args:
            now: seconds since the epoch.

        Returns:
            The runs, unfinished and most recently written first, those in training in the order of their names, so
            that they do not change places at every look; and the problems of damaged ones, one line each.
        """
        found = [self._look_at(files, now) for files in self.files()]
        rank = {"training": 0, "stopped": 1}
        runs = [run for run in found if run.state != "damaged"]
        runs.sort(key=lambda r: (rank.get(r.state, 2), 0.0 if r.state == "training" else r.quiet_s, r.name))
        return runs, [run.problem for run in found if run.state == "damaged"]

    def _called(self, files: RunFiles) -> set[str]:
        """Return the words that name a run on the command line."""
        parts = files.folder.relative_to(self.results_dir).parts
        names = {*parts[:2], "/".join(parts[1:])} | {"/".join(parts[: i + 1]) for i in range(len(parts))}
        return names | {match[1] for part in parts[1:2] if (match := STORED.fullmatch(part))}

    def _look_at(self, files: RunFiles, now: float) -> RunStatus:
        place = files.folder.relative_to(self.results_dir)
        if len(place.parts) != 3 or not re.fullmatch(r"seed\d+", place.name):
            problem = f"{files.folder}: not the folder of a run, which is <dataset>/<run>/seed<number>"
            return RunStatus(name=place.as_posix(), state="damaged", problem=problem)
        return _read(files, printable(place.as_posix()), now, declared=self._declared)


def named_runs(word: str, results_dir: Path, command: str, what: str = "experiment or run") -> list[RunFiles]:
    """Return the stored runs that a word names: by their folder, or as `StoredRuns` has it, or those below a folder.

    Raises:
        UserError: it names nothing.
    """
    for folder in (Path(word), results_dir / word):
        files = RunFiles(folder=folder)
        if any(file.is_file() for file in (files.record, files.curves, files.asked)):
            return [files]
    if "/" in word and Path(word).is_file():
        raise UserError(f"{command}: {word} is a file; expected a run, or its folder")
    below = [RunFiles(folder=record.parent) for record in sorted(Path(word).rglob("run.json"))] if "/" in word else []
    try:
        return StoredRuns(results_dir, [word], command, what).files() or below
    except UserError:
        if not below:
            raise
    return below


def named_run(word: str, results_dir: Path, command: str, what: str = "run") -> RunFiles:
    """Return the one stored run that a word names, such as `resnet20` or `cifar10/resnet20/seed0`, or its folder.

    Where it names a run of several seeds, this is seed 0.

    Raises:
        UserError: it names nothing, or several runs.
    """
    found = named_runs(word, results_dir, command, what)
    found = [files for files in found if files.folder.parent.name == word] or found
    if {files.folder.parent.name for files in found} == {Path(word).name}:
        found = [files for files in found if files.folder.name == "seed0"] or found
    if len(found) != 1:
        folders = [files.folder for files in found]
        names = [str(f.relative_to(results_dir) if f.is_relative_to(results_dir) else f) for f in folders]
        of_these = f"name one of {', '.join(names)}" if names else f"none is stored in {results_dir}; train it first"
        raise UserError(f"{command} {word}: expected one run, got {len(found)}; {of_these}")
    return found[0]


def _read(files: RunFiles, name: str, now: float, asked: Run | None = None, declared: Iterable[Run] = ()) -> RunStatus:
    """Read how far the run in a folder is.

    Args:
        now: seconds since the epoch.
        asked: the run that should be there; None: whichever is.
        declared: runs of experiments, one of which may tell its length where its files do not.
    """
    try:
        record = results.read_record(files)
        if record is None:
            asked = asked or results.read_asked(files)
        elif asked is not None:
            same_run.check(same_run.of_record(record), asked, files.record)
        points = results.read_points(files)
        if record is not None:
            results.check_files(files, record)
        written = _times_written(files.curves, files.checkpoint, files.record)
    except (UserError, OSError) as error:
        return RunStatus(name=name, state="damaged", problem=str(error))
    if record is not None:
        total = record.recipe.get("total_iters")
    else:
        total = asked.recipe.total_iters if asked else _declared_iters(files.folder.parent.name, declared)
    if points and total is not None and points[-1].iteration > total:  # then it is not the run that was declared
        total = None
    training = record is None and is_locked(files.holder)
    first_iter, waited_s = asked.first_iter if asked else 0, now - written.get(files.curves, now)
    return RunStatus(
        name=name,
        state=record.status if record else "training" if training else "stopped" if written else "not started",
        points=points,
        record=record,
        total_iters=total,
        quiet_s=max(0.0, now - max(written.values(), default=now)),
        eta_s=_eta_s(points, first_iter, total, waited_s) if training else None,
    )


def _times_written(*paths: Path) -> dict[Path, float]:
    """Return when those of the files that are there were written; a checkpoint is not while it is replaced."""
    written = {}
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            written[path] = path.stat().st_mtime
    return written


def _declared_iters(stored_name: str, declared: Iterable[Run]) -> int | None:
    """Return the last iteration of the declared run whose folder has this name, with its scaled schedule."""
    match = STORED.fullmatch(stored_name)
    name, scale = (match[1], float(match[2] or 1)) if match else (stored_name, 1.0)
    return next((run.recipe.scaled(scale).total_iters for run in declared if run.name == name), None)


def _eta_s(points: list[CurvePoint], first_iter: int, total_iters: int | None, waited_s: float) -> float | None:
    """Return the seconds until the last iteration, tests included, at the rate of the last points.

    Args:
        waited_s: seconds since the last point.
    """
    if not points or total_iters is None:
        return None
    last = points[-1]
    iteration, elapsed_s = first_iter, 0.0
    if len(points) > RATE_POINTS:
        iteration, elapsed_s = points[-1 - RATE_POINTS].iteration, points[-1 - RATE_POINTS].elapsed_s
    rate = (last.elapsed_s - elapsed_s) / max(1, last.iteration - iteration)
    return max(0.0, (total_iters - last.iteration) * rate - max(0.0, waited_s))
