"""The live view: what it reads from files, how it fits the window, how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resrepro import results
from resrepro.config.toml_files import find_experiment
from resrepro.errors import UserError
from resrepro.results.status import StoredRuns, named_run, named_runs
from support.recipes import tiny_run
from support.records import point, record
from support.watching import begin, look, named, shown


def test_states_are_told_by_the_files_and_unfinished_runs_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
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
    monkeypatch.setattr(time, "time", lambda: now)  # however long the files took
    text = "\n".join(shown(tmp_path))
    for words in ("3 training, 3 stopped, 1 finished, 1 diverged", "diverged at 7", "silent for 11m40s", "1m30s ago"):
        assert words in text


def test_it_takes_no_lock_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = begin(tmp_path, tiny_run(), point(5, 1.0))

    def everything() -> list[tuple[Path, int, int]]:
        stats = [(path, path.stat()) for path in sorted(tmp_path.rglob("*"))]
        return [(path, stat.st_mtime_ns, stat.st_size) for path, stat in stats]

    with results.hold(files):
        before = everything()
        with monkeypatch.context() as patch:
            patch.setattr("fcntl.flock", lambda *_: pytest.fail("the watch took a lock"))
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
    with results.hold(files):
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
    with results.hold(files):
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
    runs, skipped = StoredRuns(tmp_path, []).look(time.time())
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
    assert chosen("mine/seed0") == ["mine"]  # as tables and the live view write it
    assert chosen("resnet20") == []  # declared, and not begun
    with pytest.raises(UserError, match="no experiment or run 'mien'; did you mean 'mine'"):
        StoredRuns(tmp_path, ["mien"])
    with pytest.raises(UserError, match="no experiment or run 'plain'; did you mean 'plain-deep'"):  # which is stored
        StoredRuns(tmp_path, ["plain"])


def test_a_folder_elsewhere_names_the_finished_runs_below_it(tmp_path: Path) -> None:
    mine, other = tmp_path / "results", tmp_path / "other"
    for seed in (1, 0):
        run = tiny_run("plain8").replace(seed=seed)
        results.write_record(results.run_files(other, run), record(run))
        results.write_record(results.run_files(mine / "quickstart", run), record(run))
    for word in (other, other / "shapes", mine / "quickstart/shapes/plain8"):
        found = [files.folder for files in named_runs(str(word), mine, "verify")]
        assert [folder.name for folder in found] == ["seed0", "seed1"] and found[0].is_relative_to(word)
    with pytest.raises(UserError, match=rf"expected one run, got 2; name one of {other}/shapes/plain8/seed0, {other}"):
        named_run(str(other), mine, "compare")
    for word in (f"{other}/shapes/plain8", "plain8", "shapes/plain8"):  # the first of its seeds
        assert named_run(word, other, "compare").folder == other / "shapes/plain8/seed0"
    with pytest.raises(UserError, match=f"there is no experiment or run '{tmp_path}/nosuch'$"):
        named_runs(f"{tmp_path}/nosuch", mine, "verify")
    with pytest.raises(UserError, match="there is no experiment or run 'nosuch/here'"):
        named_runs("nosuch/here", mine, "verify")
