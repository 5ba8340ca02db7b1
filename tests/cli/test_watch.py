"""The live view: how it fits the window, how it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resrepro import results
from resrepro.cli.options import told_apart
from resrepro.results import csv_rows
from support.processes import command, run
from support.recipes import tiny_run
from support.records import point, record
from support.watching import begin, named, shown


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


def test_finished_runs_leave_the_room_to_the_curves(tmp_path: Path) -> None:
    begin(tmp_path, named("a-live-one"), *(point(j, j) for j in range(1, 50)))
    for i in range(12):
        files = begin(tmp_path, named(f"done{i}"), point(10, 1.0, error=i))
        results.write_record(files, record(named(f"done{i}")))
    lines = shown(tmp_path, 80, 24)
    assert len(lines) <= 24 and all(len(line) <= 80 for line in lines)
    rows = [line for line in lines if re.search(r"(a-live-one|done\d+)/seed0 ", line)]
    (rest,) = [line for line in lines if line.startswith("  and 5 finished: ")]
    assert "a-live-one" in rows[0] and len(rows) - 1 == 8 and re.search(r"done\d+/seed0 \d+\.00 %", rest)
    assert sum("│" in line or "┤" in line for line in lines) >= 9  # rows of the plot


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


@pytest.mark.slow
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


def test_names_of_runs_are_told_apart_in_a_narrow_window() -> None:
    names = [
        f"cifar10/{name}/seed0" for name in ("resnet20-decay-all", "resnet56-decay-all", "plain56-32k-fc-gaussian")
    ]
    assert told_apart(names, 40) == names
    assert told_apart(names, 29) == [name.removeprefix("cifar10/") for name in names]
    assert told_apart(names, 23) == [name.split("/")[1] for name in names]
    for width in range(10, 23):
        found = told_apart(names, width)
        assert len({*found}) == 3 and max(map(len, found)) <= width
    seeds = [f"cifar10/plain56-32k-fc-gaussian/seed{seed}" for seed in (0, 1)]
    assert len({*told_apart(seeds, 12)}) == 2


def test_a_frame_without_a_window_has_the_newest_finished_runs(tmp_path: Path) -> None:
    for i in range(20):
        files = begin(tmp_path, named(f"done{i}"), point(10, 1.0, error=i))
        results.write_record(files, record(named(f"done{i}")))
    out = run("watch", "--once", "--results-dir", tmp_path)
    assert len(re.findall(r"^. done\d+/seed0 ", out, re.M)) == 12 and "  and 8 finished: " in out
