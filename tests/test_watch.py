"""The live view: what it reads from files, how it fits the window, how it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest
from conftest import command, tiny_run
from rich.console import Console
from test_results import record

from resrepro import results
from resrepro.cli.braille_plot import Line, plot
from resrepro.cli.watch import frame
from resrepro.config.run import Run
from resrepro.config.toml_files import find_experiment
from resrepro.errors import UserError
from resrepro.results import csv_rows
from resrepro.results.records import CurvePoint
from resrepro.results.status import RunStatus, Watch


def point(iteration: int, elapsed_s: float, error: float = 50.0) -> CurvePoint:
    return CurvePoint(
        iteration=iteration, lr=0.1, train_loss=1.0, train_error_pct=error, test_loss=1.0, test_error_pct=error + 1,
        elapsed_s=elapsed_s,
    )  # fmt: skip


def begin(results_dir: Path, run: Run, *points: CurvePoint, written_s_ago: float = 0.0) -> results.RunFiles:
    files = results.run_files(results_dir, run)
    csv_rows.write_rows(files.curves, CurvePoint, list(points))
    os.utime(files.curves, (time.time() - written_s_ago,) * 2)
    return files


def named(name: str, dataset: str = "shapes") -> Run:
    return tiny_run().model_copy(update={"name": name, "dataset": dataset})


def look(results_dir: Path, *words: str) -> dict[str, RunStatus]:
    runs, skipped = Watch(results_dir, list(words)).look(time.time())
    assert not skipped
    return {run.name: run for run in runs}


def shown(results_dir: Path, width: int = 100, height: int | None = None) -> list[str]:
    console = Console(width=width, height=height or 25, color_system=None)
    with console.capture() as captured:
        console.print(frame(Watch(results_dir, []), width, height))
    return captured.get().split("\n")[:-1]


def test_states_are_told_by_the_files_and_unfinished_runs_come_first(tmp_path: Path) -> None:
    for name, ago in (("old", 5000), ("new", 300), ("killed", 90), ("training-b", 50), ("training-a", 60)):
        files = begin(tmp_path, named(name), point(5, 1.0), written_s_ago=ago)
        if name.startswith("training"):
            files.holder.write_text(f"process {os.getpid()} on {os.uname().nodename}")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    results.run_files(tmp_path, named("killed")).holder.write_text(f"process {gone.pid} on {os.uname().nodename}")
    begin(tmp_path, named("elsewhere"), point(5, 1.0), written_s_ago=700).holder.write_text(
        f"process {gone.pid} on Mars"
    )
    results.write_record(begin(tmp_path, named("done"), point(12, 1.0)), record(named("done")))
    diverged = {"status": "diverged", "diverged_iter": 7, "final_test_error_pct": None}
    results.write_record(begin(tmp_path, named("nan")), record(named("nan"), **diverged))
    assert [(n.split("/")[1], run.state) for n, run in look(tmp_path).items()] == [
        ("elsewhere", "training"), ("training-a", "training"), ("training-b", "training"), ("killed", "stopped"),
        ("new", "stopped"), ("old", "stopped"), ("nan", "diverged"), ("done", "finished"),
    ]  # fmt: skip
    text = "\n".join(shown(tmp_path))
    for words in ("3 training, 3 stopped, 1 finished, 1 diverged", "diverged at 7", "silent for 11m40s", "1m30s ago"):
        assert words in text


def test_it_takes_no_lock_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = begin(tmp_path, tiny_run(), point(5, 1.0))

    def everything() -> list[tuple[Path, int, int]]:
        stats = [(path, path.stat()) for path in sorted(tmp_path.rglob("*"))]
        return [(path, stat.st_mtime_ns, stat.st_size) for path, stat in stats]

    with results.exclusive(files):
        before = everything()
        monkeypatch.setattr(filelock, "FileLock", lambda *_, **__: pytest.fail("the watch took a lock"))
        assert look(tmp_path)["shapes/resnet8/seed0"].state == "training" and shown(tmp_path)
        assert everything() == before
    assert look(tmp_path)["shapes/resnet8/seed0"].state == "stopped"


def test_the_eta_is_the_rate_of_the_last_points_less_the_time_gone_since(tmp_path: Path) -> None:
    slow_then_fast = [point(5 * i, 100.0 * i) for i in range(1, 6)] + [
        point(25 + i, 500.0 + 2 * i) for i in range(1, 11)
    ]
    run = tiny_run(total_iters=100, lr_drop_iters=(6, 9))
    files = begin(tmp_path, run, *slow_then_fast, written_s_ago=30)
    results.write_asked(files, run)
    assert look(tmp_path)["shapes/resnet8/seed0"].eta_s is None  # it is not being trained
    with results.exclusive(files):
        seen = look(tmp_path)["shapes/resnet8/seed0"]
        assert seen.total_iters == 100 and seen.eta_s == pytest.approx(65 * 2 - 30, abs=1)
        assert "1m40s" in "\n".join(shown(tmp_path)) or "1m39s" in "\n".join(shown(tmp_path))
        begin(tmp_path, run, point(10, 20.0))
        assert look(tmp_path)["shapes/resnet8/seed0"].eta_s == pytest.approx(90 * 2, abs=1)
        begin(tmp_path, run)
        assert look(tmp_path)["shapes/resnet8/seed0"].eta_s is None
        begin(tmp_path, run, point(100, 200.0))
        assert "last tests" in "\n".join(shown(tmp_path))


def test_the_eta_of_a_net_made_of_another_counts_from_where_its_training_starts(tmp_path: Path) -> None:
    run = next(run for run in find_experiment("constructed-identity").runs if run.start_from is not None)
    files = begin(tmp_path, run, point(32_500, 100.0))
    results.write_asked(files, run)
    with results.exclusive(files):
        (seen,) = look(tmp_path).values()
    assert seen.eta_s == pytest.approx(31_500 / 500 * 100, abs=1)


def test_the_length_of_a_run_is_its_own_word_then_an_experiments(tmp_path: Path, toml: Callable[..., Path]) -> None:
    own = begin(tmp_path / "r", named("plain20", "cifar10"), point(5, 1.0))
    begin(tmp_path / "r", named("plain56", "cifar10"), point(5, 1.0))
    begin(tmp_path / "r", named("plain56-x0.02", "cifar100"), point(5, 1.0))
    begin(tmp_path / "r", named("plain18-64px", "imagenette"), point(5, 1.0))
    begin(tmp_path / "r", named("resnet34-A-32px-x0.001", "imagenette"), point(5, 1.0))
    begin(tmp_path / "r", named("resnet8"), point(5, 1.0))
    begin(tmp_path / "r", named("plain-deep"), point(801, 1.0))  # longer than the quickstart's, so not that one
    lengths = {name: run.total_iters for name, run in look(tmp_path / "r").items()}
    assert lengths == {
        "cifar10/plain20/seed0": 64000, "cifar10/plain56/seed0": 64000, "cifar100/plain56-x0.02/seed0": 1280,
        "imagenette/plain18-64px/seed0": 600000, "imagenette/resnet34-A-32px-x0.001/seed0": 600,
        "shapes/resnet8/seed0": None, "shapes/plain-deep/seed0": None,
    }  # fmt: skip
    assert list(look(tmp_path / "r", "resnet34-A")) == ["imagenette/resnet34-A-32px-x0.001/seed0"]
    results.write_asked(own, named("plain20", "cifar10"))
    assert look(tmp_path / "r", "plain20")["cifar10/plain20/seed0"].total_iters == 12
    assert look(tmp_path / "r", str(toml()))["shapes/resnet8/seed0"].total_iters == 12


@pytest.mark.parametrize("cut", [1, 20])
def test_a_row_that_is_being_written_is_left_out(tmp_path: Path, cut: int) -> None:
    files = begin(tmp_path, tiny_run(), point(5, 1.0), point(10, 2.0))
    os.truncate(files.curves, files.curves.stat().st_size - cut)
    assert look(tmp_path)["shapes/resnet8/seed0"].points == [point(5, 1.0)]


def test_damaged_and_foreign_folders_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    begin(tmp_path, named("good"), point(5, 1.0))
    begin(tmp_path, named("asked"), point(5, 1.0)).asked.write_text("{")
    damaged = begin(tmp_path, named("damaged"), point(5, 1.0))
    damaged.curves.write_text(damaged.curves.read_text() + "1,2\n3\n")
    begin(tmp_path, named("older"), point(5, 1.0)).record.write_text('{"accuracy": 1}')
    for folder in ("shapes/foreign/seed0", "alien", "shapes/good/best"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "curves.csv").write_text("epoch,accuracy\n1,2\n")
    runs, skipped = Watch(tmp_path, []).look(time.time())
    assert [run.name for run in runs] == ["shapes/good/seed0"]
    reasons = "\n".join(skipped)
    for reason in (
        "asked/seed0/asked.json: damaged", "damaged/seed0/curves.csv:3: expected iteration,",
        "older/seed0/run.json: not a valid record", "foreign/seed0/curves.csv:1: expected the columns",
        "alien: not the folder of a run", "good/best: not the folder of a run",
    ):  # fmt: skip
        assert reason in reasons
    text = "".join(shown(tmp_path))
    assert "1 stopped, 6 skipped" in text and text.count("skipped: ") == 6


def test_names_choose_among_the_runs(tmp_path: Path) -> None:
    every = [("shapes", "plain-deep"), ("shapes", "mine"), ("cifar10", "plain20"), ("cifar10", "plain20-x0.02")]
    for dataset, name in every:
        begin(tmp_path, named(name, dataset), point(5, 1.0))

    def chosen(*words: str) -> list[str]:
        return sorted(name.split("/")[1] for name in look(tmp_path, *words))

    assert chosen() == ["mine", "plain-deep", "plain20", "plain20-x0.02"]
    assert chosen("quickstart") == ["plain-deep"] and chosen("plain20-vs-plain56") == ["plain20", "plain20-x0.02"]
    assert chosen("mine", "plain20-x0.02") == ["mine", "plain20-x0.02"] and chosen("shapes") == ["mine", "plain-deep"]
    assert chosen("cifar10/plain20", f"{tmp_path}/shapes/mine/seed0/") == ["mine", "plain20"]
    assert chosen("resnet20") == []  # declared, and not begun
    with pytest.raises(UserError, match="no experiment or run 'mien'; did you mean 'mine'"):
        Watch(tmp_path, ["mien"])


@pytest.mark.parametrize("height", [5, 8, 16, 24, 50])
@pytest.mark.parametrize("width", [12, 20, 40, 80, 140])
def test_the_frame_fits_the_window(tmp_path: Path, width: int, height: int) -> None:
    for i in range(9):
        points = [point(j * 500, j, 90 / j) for j in range(1, 129)]
        begin(tmp_path, named(f"a-run-with-quite-a-long-name-{i}", "cifar10"), *points)
    (tmp_path / "alien").mkdir()
    (tmp_path / "alien" / "curves.csv").touch()
    lines = shown(tmp_path, width, height)
    assert len(lines) <= height and all(len(line) <= width for line in lines)
    assert "test (%)" in "\n".join(lines) or width <= 20
    assert any("⠀" < character <= "⣿" for character in "".join(lines[4:])) == (height >= 16 and width >= 20)
    if height == 16 and width >= 20:
        assert "  and 4 more" in lines and lines[-1].startswith("skipped: alien")


def test_a_plot_is_the_curve() -> None:
    falling = Line(xs=[0, 1], ys=[1, 0], style="", mark="1")
    assert [row.plain.rstrip() for row in plot([falling], width=10, height=4, x_max=1, y_max=1)] == [
        "   1┤⠑⢄", "   0┤  ⠑⢄1", "    └────", "     0iteration1",
    ]  # fmt: skip


def test_training_is_dashed_marks_stand_apart_and_nothing_is_drawn_above_the_axis() -> None:
    def dots(*lines: Line) -> int:
        return sum((ord(c) - 0x2800).bit_count() for row in plot(lines, width=60, height=12, x_max=9, y_max=10)
                   for c in row.plain if 0x2800 < ord(c) <= 0x28FF)  # fmt: skip

    solid, dashed = (Line(xs=[0, 9], ys=[5, 5], style="", dashed=d) for d in (False, True))
    assert dots(solid) == 110 and dots(dashed) == 56
    assert dots(Line(xs=[0, 9], ys=[11, 11], style="")) == 0
    twice = [Line(xs=[0, 9], ys=[5, 5], style="", mark=mark) for mark in "12"]
    assert any(row.plain.rstrip().endswith("12") for row in plot(twice, width=60, height=12, x_max=9, y_max=10))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_it_is_live_in_a_terminal_and_leaves_it_as_it_was(tmp_path: Path, number: int, code: int) -> None:
    files = begin(tmp_path, tiny_run(), point(5, 1.0))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    watch = subprocess.Popen(
        command("watch", "--results-dir", tmp_path, "--every", "0.1"), stdin=theirs, stdout=theirs, stderr=theirs,
        env={**{k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    changed = threading.Event()

    def read_all() -> None:
        nonlocal seen
        try:
            while part := os.read(ours, 65536):
                seen += part
                changed.set()
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read_all)
    reader.start()

    def wait_for(words: bytes) -> None:
        end = time.monotonic() + 30
        while words not in seen:
            assert time.monotonic() < end, seen[-2000:]
            changed.wait(0.1)
            changed.clear()

    wait_for(b"51.00")
    csv_rows.append_row(files.curves, point(10, 2.0, error=12.25))
    wait_for(b"13.25")
    watch.send_signal(number)
    assert watch.wait(30) == code
    reader.join(30)
    os.close(ours)
    assert b"Traceback" not in seen and seen.count(b"\x1b[?1049h") == seen.count(b"\x1b[?1049l") == 1
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")  # the cursor is back


def test_a_run_is_followed_from_training_to_killed(toml: Callable[..., Path], tmp_path: Path) -> None:
    path = toml(("total_iters = 12", "total_iters = 100000"))

    def once() -> str:
        words = command("watch", path, "--once", "--results-dir", tmp_path)
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    with subprocess.Popen(
        command("run", path, "--results-dir", tmp_path), stdout=subprocess.PIPE, text=True
    ) as training:
        assert training.stdout is not None
        for line in training.stdout:
            if "images/s" in line:
                break
        try:
            assert re.search(r"1 plain8/seed0 +\d+/100000 .* \d+[hm]\d\d[ms] training", once())
        finally:
            training.kill()
    assert re.search(r"1 plain8/seed0 .* stopped 0m\d\ds ago", once())
