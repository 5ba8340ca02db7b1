"""Show in the terminal what `run` does: a bar for each run, or plain lines where the output is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID
from rich.text import Text

from resrepro.cli.options import duration, told_apart
from resrepro.config.run import Run
from resrepro.results.records import CurvePoint, RunRecord
from resrepro.training.reporter import Progress as RunProgress

REFRESH_S = 0.1  # a step on a GPU takes less time than a line of text
WIDE = 110  # columns from which on there is room for a bar
BAR_WIDTH = 16
MIN_NAME_WIDTH = 12
LAST_TESTS = "last tests"  # responses, clean training error, predictions, averaged BN statistics


@dataclass
class _Shown:
    """Holds the bar of one run, where this session went on from, and when the bar was last drawn."""

    task: TaskID
    from_iteration: int
    from_elapsed_s: float
    errors: str
    at: float = 0.0


class _Line(ProgressColumn):
    """Writes what is known of a run into the width that there is: first learning rate and speed go, then of the name.

    The remaining time is that of now, also where nothing was told for a while.
    """

    def __init__(self, width: Callable[[], int], runs: Callable[[], Collection[str]]) -> None:
        super().__init__()
        self.width, self.runs = width, runs

    def render(self, task: Task) -> Text:
        parts = [f"{task.completed:.0f}/{task.total:.0f}", *task.fields["shown"]]
        if (ends_at := task.fields.get("ends_at")) is not None:
            parts.append(f"ETA {duration(max(0.0, ends_at - time.monotonic()))}")
        parts = [part for part in parts if part]
        run, extras = task.fields["run"], task.fields["extras"]
        return Text(fitted(run, parts, extras, self.width(), self.runs()), no_wrap=True)


def fitted(run: str, parts: Sequence[str], extras: Sequence[str], width: int, runs: Collection[str]) -> str:
    """Return a line of at most `width` characters, if it can be.

    Args:
        run: its name, of which the dataset goes first where it is too long, then the seed, then what is in the middle.
        parts: what stays; in a narrow line errors lose their words, training before test.
        extras: what is written as far as there is room.
        runs: the names of all that are shown, from which the shortened one still tells it apart.
    """
    if len("  ".join(parts)) + MIN_NAME_WIDTH + 2 > width:
        parts = [part.replace("train ", "").replace(" %  test ", "/") for part in parts]
    needed = sum(len(part) + 2 for part in parts)
    kept: list[str] = []
    for extra in extras:
        if len(run) + needed + len(extra) + 2 <= width:
            kept.append(extra)
            needed += len(extra) + 2
    room = max(MIN_NAME_WIDTH, width - needed)
    if len(run) > room:
        run = told_apart([run, *(other for other in runs if other != run)], room)[0]
    return "  ".join([run, *parts, *kept])


class TerminalReporter:
    """Shows the progress of runs in the terminal while it is entered."""

    def __init__(self, console: Console) -> None:
        self.console = console
        wide = console.width >= WIDE
        self._shown: dict[Run, _Shown] = {}
        line = _Line(lambda: console.width - (BAR_WIDTH + 1) * wide, lambda: [*map(str, [*self._shown])])
        bars = [BarColumn(bar_width=BAR_WIDTH)] if wide else []
        self.progress = Progress(*bars, line, console=console, disable=not console.is_terminal)
        self._notes: set[str] = set()
        self._preparing: dict[str, TaskID] = {}

    def __enter__(self) -> TerminalReporter:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def preparing(self, what: str, done: int, total: int) -> None:
        """Show the progress of work before the runs, such as the per-pixel mean."""
        if what not in self._preparing:
            self._preparing[what] = self.progress.add_task("", total=total, run=what, shown=(), extras=())
            if not self.console.is_terminal:
                self._say(f"{what} of {total} images ...")
        self.progress.update(self._preparing[what], completed=done)

    def started(self, run: Run, training: RunProgress) -> None:
        """Show the bar of a run, and what the machine lacks to be as fast as it could be."""
        total = run.recipe.total_iters
        for note in training.notes:
            if note not in self._notes:  # once for all runs
                self._say(note)
        self._notes.update(training.notes)
        self._shown[run] = _Shown(
            task=self.progress.add_task(
                "", total=total, completed=training.iteration, run=str(run), shown=("starting",), extras=()
            ),
            from_iteration=training.iteration,
            from_elapsed_s=training.elapsed_s,
            errors=_errors(training.points[-1]) if training.points else "",
        )
        if training.iteration > run.first_iter:
            self._say(f"{run}: resumed at iteration {training.iteration}")
        elif not self.console.is_terminal:
            self._say(f"{run}: started, {total - run.first_iter} iterations")

    def advanced(self, run: Run, training: RunProgress, point: CurvePoint | None) -> None:
        """Move the bar of a run; it is drawn at most ten times a second."""
        shown = self._shown[run]
        now = time.monotonic()
        if point is not None:
            shown.errors = _errors(point)
        elif not self.console.is_terminal or now - shown.at < REFRESH_S:
            return
        shown.at = now
        its_per_s = _rate(training, shown)
        last = training.iteration == run.recipe.total_iters
        extras, eta, ends_at = [f"lr {training.lr:g}"], [], None
        if its_per_s:
            left_s = (run.recipe.total_iters - training.iteration + training.measuring_iters) / its_per_s
            extras.append(f"{its_per_s * run.recipe.batch_size:.0f} images/s")
            eta, ends_at = [f"ETA {duration(left_s)}"], now + left_s
        if last:
            extras = []
        self.progress.update(
            shown.task, completed=training.iteration, shown=(LAST_TESTS if last else "", shown.errors), extras=extras,
            ends_at=ends_at,
        )  # fmt: skip
        if not self.console.is_terminal:
            words = (*((LAST_TESTS,) if last else ()), *extras, shown.errors, *eta)
            line = f"{run}: {training.iteration}/{run.recipe.total_iters}  {'  '.join(words)}"
            self._say(line)

    def ended(self, run: Run, record: RunRecord | None, note: str) -> None:
        """Print how a run ended, above the bars, and remove its own."""
        shown = self._shown.pop(run, None)
        if shown is not None:
            self.progress.remove_task(shown.task)
        took = f" in {duration(record.wall_time_s)}" if record else ""
        errors = f"  {shown.errors}" if shown else ""
        self._say(f"{run}: {note or f'finished{took}{errors}'}")

    def _say(self, line: str) -> None:
        """Print a line above the bars."""
        self.console.print(line, soft_wrap=True)


def _rate(training: RunProgress, shown: _Shown) -> float:
    """Return iterations a second, tests included; 0 before the first one after a run is resumed."""
    iterations = training.iteration - shown.from_iteration
    return iterations / max(training.elapsed_s - shown.from_elapsed_s, 1e-9)


def _errors(point: CurvePoint) -> str:
    return f"train {point.train_error_pct:.2f} %  test {point.shown_test_error_pct:.2f} %"
