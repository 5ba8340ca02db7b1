"""`data check` and `data prepare`, as a user types them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from typer.testing import CliRunner

from resrepro.cli import app
from resrepro.errors import UserError, printable
from support.images import encoded, name_of, picture
from support.processes import command


def run(*words: object) -> tuple[str, BaseException | None]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.output, done.exception


def test_check_and_prepare_by_command(birds: Path, tmp_path: Path) -> None:
    (birds / "train" / "owl" / "owl_0.JPEG").write_bytes(encoded(picture(20, 30), "PNG"))
    (birds / "train" / "owl" / "owl_1.JPEG").write_bytes(encoded(picture(50, 40).convert("CMYK")))
    where = (name_of(birds), "--data-dir", tmp_path, "--workers", 0)
    out, error = run("data", "check", *where, "--smallest", 33)
    assert error is None
    line = (
        "train: 10 images, 5 a class; 8 JPEG, 1 JPEG, CMYK, 1 PNG; 1 with a shorter side below 33 pixels; 0 unreadable"
    )
    assert line in out.splitlines()
    bad = birds / "train" / "auk" / "auk\x1b[31m.JPEG"  # whose color must not reach the terminal
    (birds / "train" / "auk" / "auk_1.JPEG").rename(bad)
    png = bytearray(encoded(picture(20, 20), "PNG"))
    png[600] ^= 1
    bad.write_bytes(png)
    out, error = run("data", "check", *where)
    assert isinstance(error, SystemExit) and error.code == 1 and f"{printable(str(bad))}: not a readable image" in out
    out, error = run("data", "prepare", *where)
    assert isinstance(error, UserError) and str(error).startswith(f"{printable(str(bad))}: not a readable")
    shutil.rmtree(tmp_path / "prepared")
    out, error = run("data", "prepare", *where, "--skip-corrupt")
    assert error is None and f"left out as corrupt: {printable(str(bad))}" in out
    assert "9 training and 6 test images, 2 classes" in out
    out, error = run("data", "check", *where)
    assert error is None and out.startswith(str(tmp_path / "prepared"))


def test_an_interrupted_preparation_ends_at_once(birds: Path, tmp_path: Path) -> None:
    for k in range(300):
        shutil.copy(birds / "train" / "owl" / "owl_2.JPEG", birds / "train" / "owl" / f"x{k}.JPEG")
    process = subprocess.Popen(
        command("data", "prepare", name_of(birds), "--data-dir", tmp_path, "--workers", 1),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(tmp_path.glob("prepared/*/train.pack")):
        time.sleep(0.02)
        assert process.poll() is None
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert process.returncode != 0 and "Traceback" not in error
