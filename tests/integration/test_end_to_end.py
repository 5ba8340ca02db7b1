"""The command line, as a user types it."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from resrepro.results.csv_rows import read_rows
from resrepro.results.records import CurvePoint
from support.processes import command_with_few_images, error, run

pytestmark = pytest.mark.usefixtures("few_images")


LONG = (("total_iters = 12", "total_iters = 60"), ("[6, 9]", "[30, 45]"))


def outcome(folder: Path) -> tuple[dict[str, object], list[str]]:
    """Weights, and the curves without their clock."""
    weights = torch.load(folder / "checkpoint.pt", weights_only=True)["engine"]["model"]
    elapsed = [*CurvePoint.model_fields].index("elapsed_s")
    lines = (folder / "curves.csv").read_text().splitlines()
    rows = [",".join(cell for i, cell in enumerate(line.split(",")) if i != elapsed) for line in lines]
    return weights, rows


def assert_same(a: Path, b: Path) -> None:
    (weights_a, rows_a), (weights_b, rows_b) = outcome(a), outcome(b)
    assert rows_a == rows_b
    assert all(torch.equal(weights_a[k], weights_b[k]) for k in weights_a)


def test_run_records_draws_judges_and_does_not_run_again(toml: Callable[..., Path], tmp_path: Path) -> None:
    path, results = toml(), tmp_path / "results"
    out = run("run", path, "--results-dir", results, "--precision", "fp32")
    folder = results / "shapes" / "plain8" / "seed0"
    record = json.loads((folder / "run.json").read_text())
    rows = (folder / "curves.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["iteration", "5", "10", "12"]
    assert record["status"] == "finished" and record["recipe"]["lr_drop_iters"] == [6, 9]
    assert record["final_test_error_pct"] == float(rows[-1].split(",")[5])
    assert record["best_test_error_pct"] == min(float(row.split(",")[5]) for row in rows[1:])
    assert (record["num_parameters"], record["precision"], record["num_threads"]) == (75290, "fp32", 1)
    for key in (
        "final_test_error_bn_reestimated_pct",
        "final_train_error_clean_pct",
        "wall_time_s",
        "device",
        "versions",
    ):
        assert record[key] is not None
    assert (results / "figures" / "tiny.png").stat().st_size > 10_000
    statuses = r"supported|contradicted|inconclusive|(in)?consistent \(one run\)"
    assert re.search(rf"^({statuses}): plain is worse", out, re.M) and "shapes/resnet8/seed1" in out
    before = (folder / "curves.csv").stat().st_mtime_ns
    again = run("run", path, "--results-dir", results)
    assert "started" not in again and (folder / "curves.csv").stat().st_mtime_ns == before


OPTIONS = ("--only", "resnet8", "--seeds", "0", "--precision", "fp32")


def killed(number: signal.Signals, points: int, *words: object) -> bool:
    """Start a command and send it the signal after that many curve points; return whether it ended before."""
    process = subprocess.Popen(command_with_few_images(*words), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        points -= "images/s" in line
        if not points:
            time.sleep(random.random() / 20)
            process.send_signal(number)
            break
    process.stdout.read()
    process.stdout.close()
    return process.wait() == 0


def assert_whole(path: Path, tmp_path: Path) -> None:
    run("run", path, *OPTIONS, "--results-dir", tmp_path / "whole")
    assert_same(*(tmp_path / name / "shapes" / "resnet8" / "seed0" for name in ("whole", "cut")))


@pytest.mark.slow  # tests/crash has the quick form
def test_killed_once_it_ends_bit_identical(toml: Callable[..., Path], tmp_path: Path) -> None:
    words = ("run", toml(*LONG), *OPTIONS, "--results-dir", tmp_path / "cut")
    assert not killed(signal.SIGKILL, 2, *words)
    assert "resumed at iteration" in run(*words)
    assert_whole(words[1], tmp_path)


@pytest.mark.slow
def test_killed_anywhere_it_ends_bit_identical(toml: Callable[..., Path], tmp_path: Path) -> None:
    """kill -9 and SIGTERM at random moments, then the same command, until it ends."""
    words = ("run", toml(*LONG), *OPTIONS, "--results-dir", tmp_path / "cut")
    kills = 0
    while not killed(signal.SIGKILL if kills % 2 else signal.SIGTERM, random.randrange(1, 4), *words):
        kills += 1
        assert kills < 40
    assert kills >= 2
    assert_whole(words[1], tmp_path)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_checkpoints_at_once_and_says_so(
    toml: Callable[..., Path], tmp_path: Path, number: int, code: int
) -> None:
    path = toml(("total_iters = 12", "total_iters = 100000"))
    process = subprocess.Popen(
        command_with_few_images("run", path, "--results-dir", tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    for line in process.stdout:
        if "images/s" in line:
            break
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in err
    stopped = re.search(r"shapes/plain8/seed0: stopped at iteration (\d+), checkpoint written; the same command", out)
    assert stopped
    state = torch.load(tmp_path / "shapes/plain8/seed0/checkpoint.pt", weights_only=True)
    assert state["iteration"] == int(stopped[1])


def test_a_torn_csv_is_repaired_from_the_checkpoint(toml: Callable[..., Path], tmp_path: Path) -> None:
    path = toml()
    words = ("run", path, "--only", "plain8", "--precision", "fp32", "--results-dir")
    run(*words, tmp_path / "whole")
    run(*words, tmp_path / "torn")
    folder = tmp_path / "torn" / "shapes" / "plain8" / "seed0"
    (folder / "run.json").unlink()
    os.truncate(folder / "curves.csv", (folder / "curves.csv").stat().st_size - 30)
    run(*words, tmp_path / "torn")
    assert_same(folder, tmp_path / "whole" / "shapes" / "plain8" / "seed0")
    for file in ("run.json", "checkpoint.pt"):
        (folder / file).unlink()
    num_points = len(read_rows(folder / "curves.csv", CurvePoint))
    note = f"shapes/plain8/seed0: no checkpoint beside its {num_points} curve points, so it begins anew"
    assert note in run(*words, tmp_path / "torn") and num_points > 1
    assert_same(folder, tmp_path / "whole" / "shapes" / "plain8" / "seed0")


def test_a_diverged_run_is_recorded_and_the_others_go_on(toml: Callable[..., Path], tmp_path: Path) -> None:
    path = toml(('arch = "plain8"', 'arch = "plain8"\nrecipe = {lr = 1e30}'))
    out = run("run", path, "--seeds", "0", "--results-dir", tmp_path)
    record = json.loads((tmp_path / "shapes/plain8/seed0/run.json").read_text())
    assert (record["status"], record["diverged_iter"], record["final_test_error_pct"]) == ("diverged", 5, None)
    assert "plain8/seed0: diverged at iteration 5" in out and "plain8 90.00 %" in out  # it counts as chance
    assert json.loads((tmp_path / "shapes/resnet8/seed0/run.json").read_text())["status"] == "finished"
    assert "diverged" in run("show", path, "--results-dir", tmp_path)


def test_a_scaled_schedule_is_another_run(toml: Callable[..., Path], tmp_path: Path) -> None:
    out = run("run", toml(), "--only", "plain8", "--schedule-scale", "0.5", "--results-dir", tmp_path)
    record = json.loads((tmp_path / "shapes/plain8-x0.5/seed0/run.json").read_text())
    assert record["recipe"]["total_iters"] == 6 and record["recipe"]["lr_drop_iters"] == [3, 4]
    assert "tiny-x0.5.png" in out


def test_only_takes_from_each_experiment_the_runs_it_has(toml: Callable[..., Path], tmp_path: Path) -> None:
    other = toml(
        ('arch = "plain8"', 'arch = "plain8"\nname = "twin"'),
        ('"plain8", "res', '"twin", "res'),
        ('higher = "plain8"', 'higher = "twin"'),
        name="other",
    )
    out = run("run", toml(), other, "--only", "twin,plain8", "--results-dir", tmp_path)
    assert "2 run(s)" in out and sorted(p.name for p in (tmp_path / "shapes").iterdir()) == ["plain8", "twin"]


def test_a_corrupt_or_foreign_checkpoint_is_one_line(toml: Callable[..., Path], tmp_path: Path) -> None:
    path = toml()
    words = ("run", path, "--only", "plain8", "--results-dir", tmp_path)
    run(*words)
    folder = tmp_path / "shapes" / "plain8" / "seed0"
    (folder / "run.json").unlink()
    whole = (folder / "checkpoint.pt").read_bytes()
    (folder / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    assert "checkpoint.pt: damaged" in error(*words)
    torch.save({"state_dict": {}}, folder / "checkpoint.pt")
    assert "not a checkpoint of resrepro" in error(*words)
    (folder / "checkpoint.pt").write_bytes(whole)
    toml(("lr = 0.05", "lr = 0.06"))
    assert "recipe.lr is 0.05 there, but the experiment asks for 0.06" in error(*words)


def test_evaluate_gives_the_recorded_error(toml: Callable[..., Path], tmp_path: Path) -> None:
    run("run", toml(), "--only", "plain8", "--precision", "fp32", "--results-dir", tmp_path)
    folder = tmp_path / "shapes" / "plain8" / "seed0"
    recorded = json.loads((folder / "run.json").read_text())["final_test_error_pct"]
    words = ("evaluate", folder / "checkpoint.pt", "--dataset", "shapes")
    assert f"  {recorded:.2f}  " in run(*words, "--arch", "plain8")
    assert "test errors" in run(*words, "--arch", "plain8", "--preprocess", "channel-mean-std", "--std", ".2,.2,.2")
    assert "is it another --arch?" in error(*words, "--arch", "plain14")
    assert "three numbers" in error(*words, "--arch", "plain8", "--preprocess", "channel-mean-std", "--std", ".2")
    assert "did you mean 'pixel-mean'" in error(*words, "--arch", "plain8", "--preprocess", "pixelmean")


def test_list_show_summary_table_and_plot(tmp_path: Path) -> None:
    where = ("--results-dir", tmp_path)
    listed = run("list", *where)
    assert "cifar-resnet" in listed and "0/9" in listed and "Fig. 1" in listed
    assert "lr 0.01 until training error < 80 %" in run("show", "cifar-resnet", *where)
    shown = run("show", "ambiguities", *where)
    assert "decay = weights, fc_init = gaussian, bn_average_batches = " in shown
    assert re.search(r"resnet20-2devices +2 +bn_devices = 2 ", shown)
    one, vgg, every = run("summary", "resnet20"), run("summary", "vgg19"), run("summary")
    assert "269,722" in one and "layer3  64 x 8x8" in one
    assert "60,192,808" in every
    assert every.splitlines()[-1] == (
        "ResNet-152 is 8.0 times as deep as VGG-19 and has 0.57 times its multiply-adds (11.3e9 and 19.6e9)"
    )
    assert "143,667,240" in vgg and "pool5   512 x 7x7" in vgg
    assert "8 days" in listed and "weight decay 0.0005" in run("show", "resnext", *where)
    assert "no such folder; expected one in which runs are stored" in error("list", "--results-dir", tmp_path / "typo")
    folder = tmp_path / "cifar10" / "plain20" / "seed0"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{")
    assert "0/2, damaged" in run("list", *where) and "plain20/seed0/run.json: not a valid" in run("list", *where)
    assert "damaged" in run("show", "cifar-plain", *where)
    shutil.rmtree(folder)
    assert "6.43 (6.61±0.16)" in run("table", "6", *where)
    for number, rows in {1: 5, 2: 4, 3: 10, 4: 10, 5: 6, 6: 12}.items():
        assert f"Table {number}: " in run("table", number, *where)
        markdown, table = ((tmp_path / "figures" / f"table{number}.{kind}").read_text() for kind in ("md", "csv"))
        assert markdown.count("\n|") == rows + 2 and table.count("\n") == rows + 1
    assert "table 7: expected 1, 2, 3, 4, 5, 6" in error("table", 7, *where)
    drawn = run("plot", "cifar-resnet", "--format", "png,svg", "--show-missing", *where)
    assert "fig6.png" in drawn and "not run: ResNet-20" in (tmp_path / "figures" / "fig6.svg").read_text()
    out = run("plot", "cifar-plain", "--output-dir", tmp_path / "out", *where, code=1)
    assert "no figure drawn: none of its runs is stored; train them: resrepro run cifar-plain" in out
    assert not (tmp_path / "out").exists()


def test_the_three_experiments_as_a_user_types_them(toml: Callable[..., Path], tmp_path: Path) -> None:
    """Responses, gradients and a net made deeper, all from one small file; then a damaged CSV."""
    figures = "".join(
        f'[[figure]]\nname = "a-{kind}"\nkind = "{kind}"\ntitle = "T"\n[[figure.panel]]\ntitle = "p"\nruns = ["deep"]\n'
        for kind in ("responses", "gradients", "identity")
    )
    path = toml(
        ('arch = "resnet8"\nseeds = [0, 1]', 'arch = "plain14"\nname = "deep"\nstart_from = "plain8"'),
        ('lower = "resnet8"', 'lower = "deep"'),
        ('runs = ["plain8", "resnet8"]\n', 'runs = ["plain8", "deep"]\n' + figures),
    )
    results_dir = tmp_path / "results"
    out = run("run", path, "--only", "deep", "--precision", "fp32", "--results-dir", results_dir)
    assert "shapes/plain8/seed0: started, 12 iterations" in out and "shapes/deep/seed0: started, 6 iterations" in out
    assert "resumed" not in out and "left out" not in out
    for kind in ("tiny", "a-responses", "a-gradients", "a-identity"):
        assert (results_dir / "figures" / f"{kind}.png").stat().st_size > 10_000
    csv = results_dir / "shapes" / "deep" / "seed0" / "responses.csv"
    csv.write_text(csv.read_text()[:-3])
    out = run("plot", path, "--results-dir", results_dir, code=1)
    assert "error: " in out and "responses.csv:14: cut short" in out and "a-identity.png" in out
    csv.unlink()
    run("run", path, "--only", "deep", "--precision", "fp32", "--results-dir", results_dir)
    assert "error" not in run("plot", path, "--results-dir", results_dir)
