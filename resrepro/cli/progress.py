"""Show in the terminal what `run` does: a bar for each run, or plain lines where the output is no terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from resrepro.cli.options import duration
from resrepro.config.run import Run
from resrepro.results.records import CurvePoint, RunRecord
from resrepro.training.session import Progress as RunProgress

REFRESH_S = 0.1  # a step on a GPU takes less time than a line of text


@dataclass
class _Shown:
    """Holds the bar of one run, where this session went on from, and when the bar was last drawn."""

    task: TaskID
    from_iteration: int
    from_elapsed_s: float
    errors: str
    at: float = 0.0


class TerminalReporter:
    """Shows the progress of runs in the terminal while it is entered."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("{task.fields[run]}"),
            BarColumn(bar_width=16),
            TextColumn("{task.completed:>6.0f}/{task.total:.0f}  {task.fields[state]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._shown: dict[Run, _Shown] = {}
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
            self._preparing[what] = self.progress.add_task("", total=total, run=what, state="")
            if not self.console.is_terminal:
                self.console.print(f"{what} of {total} images ...", highlight=False)
        self.progress.update(self._preparing[what], completed=done)

    def started(self, run: Run, training: RunProgress) -> None:
        """Show the bar of a run, and what the machine lacks to be as fast as it could be."""
        total = run.recipe.total_iters
        for note in training.notes:
            if note not in self._notes:  # once for all runs
                self.console.print(note, highlight=False)
        self._notes.update(training.notes)
        if run in self._shown:  # in a process that died
            self.progress.remove_task(self._shown[run].task)
        self._shown[run] = _Shown(
            task=self.progress.add_task("", total=total, completed=training.iteration, run=str(run), state="starting"),
            from_iteration=training.iteration,
            from_elapsed_s=training.elapsed_s,
            errors=_errors(training.points[-1]) if training.points else "",
        )
        if training.iteration > run.first_iter:
            self.console.print(f"{run}: resumed at iteration {training.iteration}", highlight=False)
        elif not self.console.is_terminal:
            self.console.print(f"{run}: started, {total - run.first_iter} iterations", highlight=False)

    def advanced(self, run: Run, training: RunProgress, point: CurvePoint | None) -> None:
        """Move the bar of a run; it is drawn at most ten times a second."""
        shown = self._shown[run]
        now = time.monotonic()
        if point is not None:
            shown.errors = _errors(point)
        elif not self.console.is_terminal or now - shown.at < REFRESH_S:
            return
        shown.at = now
        state = _state(run, training, shown)
        self.progress.update(shown.task, completed=training.iteration, state=state)
        if not self.console.is_terminal:
            line = f"{run}: {training.iteration}/{run.recipe.total_iters}  {state}"
            self.console.print(line, highlight=False, soft_wrap=True)

    def ended(self, run: Run, record: RunRecord | None, note: str) -> None:
        """Show how a run ended."""
        if run in self._shown:
            shown = self._shown[run]
            self.progress.update(shown.task, state=note if note else f"done  {shown.errors}")
        if note or not self.console.is_terminal:
            took = f" in {duration(record.wall_time_s)}" if record else ""
            self.console.print(f"{run}: {note or f'finished{took}'}", highlight=False, soft_wrap=True)


def _state(run: Run, training: RunProgress, shown: _Shown) -> str:
    iterations = training.iteration - shown.from_iteration
    seconds = max(training.elapsed_s - shown.from_elapsed_s, 1e-9)
    rate = iterations / seconds  # evaluations included, so that the ETA is honest
    left = (run.recipe.total_iters - training.iteration) / rate if iterations else 0.0
    return f"lr {training.lr:g}  {shown.errors}{rate * run.recipe.batch_size:.0f} images/s  ETA {duration(left)}"


def _errors(point: CurvePoint) -> str:
    return f"train {point.train_error_pct:.2f} %  test {point.test_error_pct:.2f} %  "
