"""What `run` shows in the terminal: a bar a run, or plain lines where the output is no terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from resrepro.experiment import Run
from resrepro.records import CurvePoint, RunRecord
from resrepro.training.loop import Training


class TerminalReporter:
    """A Reporter. Use as a context manager around the runs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("{task.fields[run]}"),
            BarColumn(bar_width=16),
            TextColumn("{task.completed:>6.0f}/{task.total:.0f}  {task.fields[state]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[Run, TaskID] = {}
        self._session: tuple[int, float] = (0, 0.0)  # iteration and elapsed time where this session took over
        self._errors = ""
        self._told_unfused = False

    def __enter__(self) -> TerminalReporter:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def started(self, run: Run, training: Training) -> None:
        self._session = (training.iteration, training.elapsed_s)
        self._errors = _errors(training.points[-1]) if training.points else ""
        total = run.recipe.total_iters
        if training.engine.unfused and training.engine.compute.device.type == "cpu" and not self._told_unfused:
            self.console.print(
                f"a fifth slower, for BN and ReLU are not fused: {training.engine.unfused}", highlight=False
            )
            self._told_unfused = True
        self._tasks[run] = self.progress.add_task(
            "", total=total, completed=training.iteration, run=str(run), state="starting"
        )
        if training.iteration:
            self.console.print(f"{run}: resumed at iteration {training.iteration}", highlight=False)
        elif not self.console.is_terminal:
            self.console.print(f"{run}: started, {total} iterations", highlight=False)

    def advanced(self, run: Run, training: Training, point: CurvePoint | None) -> None:
        if point is not None:
            self._errors = _errors(point)
        if point is None and not self.console.is_terminal:
            return
        state = self._state(run, training)
        self.progress.update(self._tasks[run], completed=training.iteration, state=state)
        if not self.console.is_terminal:
            line = f"{run}: {training.iteration}/{run.recipe.total_iters}  {state}"
            self.console.print(line, highlight=False, soft_wrap=True)

    def ended(self, run: Run, record: RunRecord | None, note: str) -> None:
        if run in self._tasks:
            self.progress.update(self._tasks[run], state=note if note else f"done  {self._errors}")
        if note or not self.console.is_terminal:
            took = f" in {_duration(record.wall_time_s)}" if record else ""
            self.console.print(f"{run}: {note or f'finished{took}'}", highlight=False, soft_wrap=True)

    def _state(self, run: Run, training: Training) -> str:
        iterations = training.iteration - self._session[0]
        seconds = max(training.elapsed_s - self._session[1], 1e-9)
        rate = iterations / seconds  # evaluations included, so that the ETA is honest
        left = (run.recipe.total_iters - training.iteration) / rate if iterations else 0.0
        return f"lr {training.lr:g}  {self._errors}{rate * run.recipe.batch_size:.0f} images/s  ETA {_duration(left)}"


def _errors(point: CurvePoint) -> str:
    return f"train {point.train_error_pct:.2f} %  test {point.test_error_pct:.2f} %  "


def _duration(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}h{m:02}m" if hours else f"{m}m{s:02}s"
