"""`resrepro watch`: a live view of runs in the terminal, as a table and as curves."""

from __future__ import annotations

import math
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from resrepro.cli.braille_plot import Line, plot
from resrepro.cli.options import DEFAULT_RESULTS, ReadDir, console, duration, told_apart
from resrepro.figures.palette import COLORS, VERMILION
from resrepro.results.status import RunStatus, StoredRuns

STATE_STYLES = {"training": "bold", "stopped": "", "finished": "dim", "diverged": "bold"}
QUIET_S = 600.0  # a checkpoint is due each minute, but a deep net is tested for several
PLOT_HEIGHT = 18  # where no window's height is to be filled
NUM_SHOWN = 12  # runs, there, where none is named
MIN_PLOT_HEIGHT = 7
MIN_PLOT_WIDTH = 20
MIN_NAME_WIDTH = 20


def follow(results_dir: Path, words: list[str], *, every_s: float, once: bool, console: Console) -> None:
    """Show the runs until Ctrl-C; one frame with `once`, or where the output is no terminal."""
    watched = StoredRuns(results_dir, words)
    curves = _has_braille(console.encoding)
    if once or not console.is_terminal or console.is_dumb_terminal:
        console.print(frame(watched, console.width, None, curves=curves))
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the terminal is put right
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(frame(watched, console.width, console.height, curves=curves), refresh=True)
                _wait(console, every_s)
    except KeyboardInterrupt:
        return


def _wait(console: Console, every_s: float) -> None:
    """Wait until the next frame is due, or the window's size changes."""
    size, end = console.size, time.monotonic() + every_s
    while console.size == size and (left := end - time.monotonic()) > 0:
        time.sleep(min(0.2, left))


def _has_braille(encoding: str) -> bool:
    try:
        "⠿".encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def frame(watched: StoredRuns, width: int, height: int | None, *, curves: bool = True) -> RenderableType:
    """Return all that is shown: heading, runs, curves, and what was skipped.

    Args:
        width: of the window, characters.
        height: of the window, lines; None: as many as are needed.
        curves: whether the curves are drawn, in braille characters.
    """
    runs, skipped = watched.look(time.time())
    heading = _heading(watched.results_dir, runs, len(skipped), live=height is not None)
    num_live = sum(run.state in ("training", "stopped") for run in runs)  # these are the first
    if height is None:
        shown, plot_height = runs[: max(num_live, NUM_SHOWN)] if watched.all else runs, PLOT_HEIGHT
    else:
        skipped = skipped[: max(1, height // 8)]
        room = height - 2 - len(skipped)  # below the heading and the table's
        shown = runs[: max(1, min(room - MIN_PLOT_HEIGHT - 1, max(num_live, height // 3)))]
        plot_height = room - len(shown) - (len(shown) < len(runs))
    drawn = _drawn(shown) if curves else []
    parts: list[RenderableType] = [heading, _table(shown, drawn, width)] if runs else [heading]
    if len(shown) < len(runs):
        parts.append(_others(runs[len(shown) :]))
    if drawn and plot_height >= MIN_PLOT_HEIGHT and width >= MIN_PLOT_WIDTH:
        parts += _curves(drawn, width, plot_height)
    for why in skipped:
        why = why.removeprefix(f"{watched.results_dir}/")
        parts.append(Text(f"skipped: {why}", VERMILION, no_wrap=height is not None, overflow="ellipsis"))
    return Group(*parts)


def _others(runs: list[RunStatus]) -> Text:
    """Return one line for the runs that have no row: of finished ones, name and test error."""
    finished = [run for run in runs if run.record is not None and run.points]
    text = f"  and {len(runs)} more"
    if len(finished) == len(runs):
        ends = (f"{run.name.partition('/')[2]} {run.points[-1].shown_test_error_pct:.2f} %" for run in finished)
        text = f"  and {len(runs)} finished: {', '.join(ends)}"
    return Text(text, "dim", no_wrap=True, overflow="ellipsis")


def _heading(results_dir: Path, runs: list[RunStatus], num_skipped: int, *, live: bool) -> Text:
    counts = {status: sum(run.state == status for run in runs) for status in STATE_STYLES}
    counts["skipped"] = num_skipped
    texts = [f"{count} {status}" for status, count in counts.items() if count] or ["no run here yet"]
    clock = f"{time.strftime('%H:%M:%S')}   Ctrl-C ends   " if live else ""
    return Text(f"{', '.join(texts)}   {clock}{results_dir}", "bold", no_wrap=True, overflow="ellipsis")


def _drawn(shown: list[RunStatus]) -> list[RunStatus]:
    """The runs whose curves fit into one plot: of the first one's dataset, and not of another length."""
    begun = [run for run in shown if run.points]
    lengths = {begun[0].total_iters, None} if begun else set()
    fitting = [run for run in begun if _dataset(run) == _dataset(begun[0]) and run.total_iters in lengths]
    return fitting[: len(COLORS)]


def _dataset(run: RunStatus) -> str:
    return run.name.partition("/")[0]


def _table(shown: list[RunStatus], drawn: list[RunStatus], width: int) -> Table:
    """One row per run, its dataset named if there are several. In a narrow window columns go, then parts of names."""
    one = len({_dataset(run) for run in shown}) == 1
    rows = [_cells(run, run.name.partition("/")[2] if one else run.name) for run in shown]
    used = [column for column in rows[0] if any(row[column] for row in rows)]
    widths = {column: max(len(text) for text in (column, *(row[column] for row in rows))) for column in used}
    for column in ("lr", "train (%)", "iteration", "ETA"):
        if _name_width(widths, width) < min(MIN_NAME_WIDTH, widths["run"]):
            widths.pop(column, None)
    name_width = min(widths["run"], max(MIN_NAME_WIDTH // 2, _name_width(widths, width)))
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", width=1)
    for column in widths:
        table.add_column(column, no_wrap=True, justify="left" if column in ("run", "state") else "right")
    names = told_apart([row["run"] for row in rows], name_width)
    for run, row, name in zip(shown, rows, names, strict=True):
        row["run"] = name
        number = drawn.index(run) if run in drawn else None
        mark = Text("") if number is None else Text(str(number + 1), f"bold {COLORS[number]}")
        table.add_row(mark, *(row[column] for column in widths), style=STATE_STYLES[run.state])
    return table


def _name_width(widths: dict[str, int], width: int) -> int:
    return width - 3 - sum(w + 1 for column, w in widths.items() if column != "run")


def _cells(run: RunStatus, name: str) -> dict[str, str]:
    last = run.points[-1] if run.points else None
    total = "" if run.total_iters is None else f"/{run.total_iters}"
    return {
        "run": name,
        "iteration": f"{last.iteration if last else '–'}{total}",  # of its last curve point
        "lr": f"{last.lr:g}" if last else "",
        "train (%)": f"{last.train_error_pct:.2f}" if last else "",
        "test (%)": f"{last.shown_test_error_pct:.2f}" if last else "",
        "ETA": "" if run.eta_s is None else duration(run.eta_s),
        "state": _state(run),
    }


def _state(run: RunStatus) -> str:
    if run.state == "stopped":
        return f"stopped {duration(run.quiet_s)} ago"
    if run.state == "diverged":
        return f"diverged at {run.iteration}"
    if run.state == "training" and run.quiet_s > QUIET_S:
        return f"silent for {duration(run.quiet_s)}"
    if run.state == "training" and run.points and run.points[-1].iteration == run.total_iters:
        return "last tests"
    return run.state


def _curves(drawn: list[RunStatus], width: int, height: int) -> list[Text]:
    """Draw the curves of the runs, numbered as in the table: training errors dim and dashed, test errors over them."""
    lines = []
    for column in ("train_error_pct", "shown_test_error_pct"):
        test = column == "shown_test_error_pct"
        for number, run in enumerate(drawn):
            options: dict[str, Any] = {"mark": str(number + 1)} if test else {"dashed": True}
            lines.append(
                Line(
                    xs=[point.iteration for point in run.points],
                    ys=[getattr(point, column) for point in run.points],
                    style=COLORS[number] if test else f"dim {COLORS[number]}",
                    **options,
                )
            )
    furthest = max(1, *(run.points[-1].iteration for run in drawn))
    legend = Text("error (%)   ", no_wrap=True, overflow="ellipsis")
    legend.append("⠒⠒⠒ test   ")
    legend.append("⠒ ⠒ training", "dim")
    return [legend, *plot(lines, width=width, height=height - 1, x_max=furthest, y_max=_error_max(drawn))]


def _error_max(drawn: list[RunStatus]) -> float:
    """Return the axis maximum in %: it shows the later two thirds of each curve, as in the figures."""
    late = [p for run in drawn for p in run.points if p.iteration >= run.points[-1].iteration / 3]
    highest = 1.1 * max(max(p.train_error_pct, p.shown_test_error_pct) for p in late)
    step = 10 if highest > 10 else 1
    return min(100.0, max(1.0, math.ceil(highest / step) * step))


def watch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME|PATH.toml|RUN", show_default=False, help="Name experiments or runs; by default, all stored."
        ),
    ] = None,
    every: Annotated[
        float, typer.Option(help="Read the files again after this many seconds.", min=0.1, max=86_400)
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Print one frame and end; without a terminal, this is the default.")
    ] = False,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Watch runs live: their curves, errors and remaining time.

    Start it in another terminal, or over SSH. It only reads files and disturbs no run. Press Ctrl-C to end it.
    """
    follow(results_dir, names or [], every_s=every, once=once, console=console)
