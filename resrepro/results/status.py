"""What the files of runs tell while they are trained. Writes nothing, takes no lock, imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resrepro import results
from resrepro.config.run import Run
from resrepro.config.toml_files import experiment_names, find_experiment
from resrepro.errors import UserError, did_you_mean
from resrepro.results.lock import is_locked
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint

RATE_POINTS = 10  # the ETA's rate is that of the last points: another machine may have trained the first
STORED = re.compile(r"(.+?)(?:-\d+px)?(?:-x(\d+(?:\.\d+)?(?:e-\d+)?))?")  # Run.stored_name: its name and its scale


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One run, as its files tell.

    Args:
        name: its folder below the results directory.
        points: its curve so far.
        total_iters: None where nothing tells.
        quiet_s: since one of its files was written, seconds.
        eta_s: to the last iteration; None where it is not being trained, or nothing tells.
    """

    name: str
    status: Literal["training", "stopped", "finished", "diverged"]
    points: list[CurvePoint]
    total_iters: int | None
    diverged_iter: int | None
    quiet_s: float
    eta_s: float | None


class Watch:
    """The runs that are asked for: all, or those that `words` name.

    Args:
        words: experiments, TOML files, or runs: `resnet20`, `cifar10/resnet20`, `cifar10/resnet20/seed0`, `cifar10`.

    Raises:
        UserError: a word names neither an experiment nor a run.
    """

    def __init__(self, results_dir: Path, words: list[str]) -> None:
        self.results_dir = results_dir
        words = [w if w.endswith(".toml") else w.removeprefix(f"{results_dir}/").rstrip("/") for w in words]
        shipped = [find_experiment(name) for name in experiment_names()]
        named = [find_experiment(word) for word in words if word in experiment_names() or word.endswith(".toml")]
        self._declared = [run for experiment in (*named, *shipped) for run in experiment.runs]
        self._names = {*words, *(name for experiment in named for name in experiment.run_names())}
        known = {*experiment_names(), *(run.name for run in self._declared)}
        known = known.union(*map(self._called, results.stored_runs(results_dir)))
        for word in words:
            if word not in known and not word.endswith(".toml"):
                raise UserError(f"watch: there is no experiment or run '{word}'{did_you_mean(word, sorted(known))}")

    def look(self, now: float) -> tuple[list[Watched], list[str]]:
        """The runs, unfinished and most recently written first; and why folders were skipped, one line each.

        Runs in training stand in the order of their names, so that they do not change places at every look.
        """
        runs, skipped = [], []
        for files in results.stored_runs(self.results_dir):
            if not self._names or self._names & self._called(files):
                try:
                    runs.append(self._look_at(files, now))
                except (UserError, OSError) as error:
                    skipped.append(str(error))
        rank = {"training": 0, "stopped": 1}
        runs.sort(key=lambda r: (rank.get(r.status, 2), 0.0 if r.status == "training" else r.quiet_s, r.name))
        return runs, skipped

    def _called(self, files: RunFiles) -> set[str]:
        """What a run may be called on the command line."""
        parts = files.folder.relative_to(self.results_dir).parts
        names = {*parts[:2]} | {"/".join(parts[: i + 1]) for i in range(len(parts))}
        return names | {match[1] for part in parts[1:2] if (match := STORED.fullmatch(part))}

    def _look_at(self, files: RunFiles, now: float) -> Watched:
        place = files.folder.relative_to(self.results_dir)
        if len(place.parts) != 3 or not re.fullmatch(r"seed\d+", place.name):
            raise UserError(f"{files.folder}: not the folder of a run, which is <dataset>/<run>/seed<number>")
        points = results.read_points(files)
        record = results.read_record(files)
        held = is_locked(files.holder)
        written = [path.stat().st_mtime for path in (files.curves, files.checkpoint, files.record) if path.exists()]
        quiet_s = max(0.0, now - max(written, default=now))
        asked = None if record else results.read_asked(files)
        total = record.recipe.get("total_iters") if record else self._total_iters(asked, place)
        if points and total is not None and points[-1].iteration > total:  # then it is not the run that was declared
            total = None
        status = record.status if record else "training" if held else "stopped"
        waited_s = now - files.curves.stat().st_mtime if points else 0.0
        return Watched(
            name=place.as_posix(),
            status=status,
            points=points,
            total_iters=total,
            diverged_iter=record.diverged_iter if record else None,
            quiet_s=quiet_s,
            eta_s=_eta_s(points, asked.first_iter if asked else 0, total, waited_s) if status == "training" else None,
        )

    def _total_iters(self, asked: Run | None, place: Path) -> int | None:
        """Of an unfinished run: what its folder says, or else the experiment that declares a run of its name."""
        return asked.recipe.total_iters if asked else _declared_iters(place.parts[1], self._declared)


def _declared_iters(stored_name: str, declared: Iterable[Run]) -> int | None:
    match = STORED.fullmatch(stored_name)
    name, scale = (match[1], float(match[2] or 1)) if match else (stored_name, 1.0)
    return next((run.recipe.scaled(scale).total_iters for run in declared if run.name == name), None)


def _eta_s(points: list[CurvePoint], first_iter: int, total_iters: int | None, waited_s: float) -> float | None:
    """Time to the last iteration, tests included, at the rate of the last points; `waited_s` has gone since."""
    if not points or total_iters is None:
        return None
    last = points[-1]
    iteration, elapsed_s = first_iter, 0.0
    if len(points) > RATE_POINTS:
        iteration, elapsed_s = points[-1 - RATE_POINTS].iteration, points[-1 - RATE_POINTS].elapsed_s
    rate = (last.elapsed_s - elapsed_s) / max(1, last.iteration - iteration)
    return max(0.0, (total_iters - last.iteration) * rate - max(0.0, waited_s))
