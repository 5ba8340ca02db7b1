"""The entry point: how a command ends where its terminal, its output or its user does something unusual."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resrepro import __main__, cli
from resrepro.__main__ import main
from support.processes import run as command
from support.stored_runs import store_curve


def run(monkeypatch: pytest.MonkeyPatch, output: io.TextIOWrapper, *words: object) -> int:
    """Return the exit code of a command whose standard output is this."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["resrepro", *map(str, words)])
        patch.setattr(sys, "stdout", output)
        with pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0)


COMMANDS = ("list", "show resnext", "summary resnet20", "table 6", "watch --once", "report", "plot plain20-vs-plain56")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_behind_standard_output_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    where = () if command.startswith("summary") else ("--results-dir", tmp_path)
    store_curve(tmp_path, "plain20", 9.5)
    with Path("/dev/full").open("w") as full:
        assert run(monkeypatch, full, *command.split(), *where) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: standard output: No space left on device") and said.count("\n") == 1


def test_an_error_of_writing_output_without_a_buffer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        assert run(monkeypatch, io.TextIOWrapper(full, write_through=True), "list") == 1
    assert capsys.readouterr().err.startswith("error: standard output: No space left on device")


def test_an_error_that_names_no_file_is_not_blamed_on_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*file: str, **_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files", *file)

    monkeypatch.setattr(cli, "app", lambda **_: fail("a file"))
    assert run(monkeypatch, io.TextIOWrapper(io.BytesIO())) == 1
    assert capsys.readouterr().err.startswith("error: a file: Too many open files; ")
    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(OSError, match="Too many open files"):
        main()


@pytest.mark.parametrize(
    ("variables", "says"), [("RANK", True), ("RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE", False)]
)
def test_an_error_is_hidden_only_beside_the_first_process_of_torchrun(
    monkeypatch: pytest.MonkeyPatch, variables: str, says: bool
) -> None:
    for name in variables.split():
        monkeypatch.setenv(name, "1")
    assert ("unknown experiment" in command("show", "nosuch", code=1)) == says


def test_what_torchrun_never_sets_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("RANK", "abc")
    said = command("run", "quickstart", "--results-dir", tmp_path, code=1)
    assert said == "error: RANK=abc: expected a number, as torchrun sets it; or unset it\n"


def test_what_an_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    printed = io.BytesIO()
    assert run(monkeypatch, io.TextIOWrapper(printed, encoding="ascii"), "table", 6, "--results-dir", tmp_path) == 0
    assert rb"(6.61\xb10.16)" in printed.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_without_braille_characters_watch_draws_no_curves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str
) -> None:
    store_curve(tmp_path, "plain20", 9.5)
    printed = io.BytesIO()
    watch = "watch", "--once", "--results-dir", tmp_path
    assert run(monkeypatch, io.TextIOWrapper(printed, encoding=encoding), *watch) == 0
    assert b"plain20" in printed.getvalue() and rb"\u" not in printed.getvalue()


def test_a_warning_is_one_line_and_said_once() -> None:
    line = __main__._warnings_once()
    glyphs = "Glyph 26085 missing", "Glyph 26085 missing", "Glyph 26412 missing"  # found each time a figure is drawn
    assert "".join(map(line, glyphs)) == "warning: Glyph 26085 missing\nwarning: Glyph 26412 missing\n"


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", lambda **_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130 and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_during_an_import_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\nexcept BaseException:\n    pass\nprint('went on')"
    )
    program = (
        "import signal, sys; from resrepro import __main__\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"__main__._run = lambda: __import__('slow')\nsys.path.insert(0, {str(tmp_path)!r})\n__main__.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_threads_that_wait_sleep_soon_beside_a_busy_core_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    show = "show", "resnext", "--results-dir", tmp_path
    monkeypatch.setattr(__main__, "busy_cores", lambda: 0.1)
    assert run(monkeypatch, io.TextIOWrapper(io.BytesIO()), *show) == 0 and "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.setattr(__main__, "busy_cores", lambda: 1.0)
    assert run(monkeypatch, io.TextIOWrapper(io.BytesIO()), *show) == 0 and os.environ["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert run(monkeypatch, io.TextIOWrapper(io.BytesIO()), *show) == 0 and os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert run(monkeypatch, io.TextIOWrapper(io.BytesIO()), *show) == 0 and "GOMP_SPINCOUNT" not in os.environ
