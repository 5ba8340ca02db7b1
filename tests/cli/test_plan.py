"""What `run --dry-run` says: what is left to train, for how long, and how it knows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from resrepro import results
from resrepro.bench import estimates
from resrepro.config.architectures import counted_nets
from resrepro.config.run import Run
from resrepro.config.toml_files import find_experiment
from resrepro.data.in_memory.pipeline import InMemoryPipeline
from resrepro.results.csv_rows import write_rows
from resrepro.results.records import CurvePoint
from resrepro.runtime.device import choose
from support.processes import run
from support.recipes import tiny_run
from support.records import record
from support.stored_runs import files_of, run_of, store_curve

HERE = choose("cpu", "fp32")


def store(results_dir: Path, name: str, seconds: float, experiment: str = "cifar-plain", **values: object) -> None:
    store_run(results_dir, next(run for run in find_experiment(experiment).runs if run.name == name), seconds, **values)


def store_run(results_dir: Path, done: Run, seconds: float, **values: object) -> None:
    here = {"device": HERE.name, "precision": "fp32", "num_threads": torch.get_num_threads()}
    files = files_of(results_dir, done)
    last = CurvePoint(
        iteration=done.recipe.total_iters, lr=0.001, train_loss=1.0, train_error_pct=1.0, test_loss=1.0,
        test_error_pct=1.0, elapsed_s=seconds,
    )  # fmt: skip
    write_rows(files.curves, CurvePoint, [last])
    results.write_record(files, record(done, wall_time_s=seconds + 60, **(here | values)))


def test_the_time_is_that_of_finished_runs_by_multiply_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "calibrate", None)  # not called
    store(tmp_path, "plain20", 1000.0)
    store(tmp_path, "plain32", 9000.0, device="another")
    store(tmp_path, "plain56-50its-fc-he", 600.0, experiment="first-steps")  # too short to tell
    plain20, _, plain44 = find_experiment("cifar-plain").runs[:3]
    same, deeper = estimates.estimates([plain20.replace(seed=1), plain44], tmp_path, HERE)
    ratio = counted_nets()["plain44"].num_multiply_adds / counted_nets()["plain20"].num_multiply_adds
    # 64,000 iterations, 64 tests of 2 x 10,000 and 12,800 images, and at the end 50,000 + 20,000 + 12,800, a third each
    with_end = 1000 * (64_000 + 64 * 32_800 / 384 + 82_800 / 384) / (64_000 + 64 * 32_800 / 384)
    assert same.seconds == pytest.approx(with_end) and deeper.seconds == pytest.approx(with_end * ratio)
    assert same.how.startswith("by the rate of finished runs of plain20, on ")
    assert deeper.how.startswith("by the rate of finished runs of other nets, by multiply-adds, on ")


def test_the_rate_of_a_finished_run_is_that_of_its_size_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "calibrate", lambda *_: None)
    run = find_experiment("plain18-vs-res18").runs[0]
    small, resized = run.with_image_size(64), find_experiment("cifar-plain").runs[0].resized(64)
    store_run(tmp_path, small, 6000.0)
    store_run(tmp_path, resized, 500.0)
    asked = [run, small.replace(seed=1), resized.replace(seed=1), resized.resized(32)]
    seconds = [plan.seconds for plan in estimates.estimates(asked, tmp_path, HERE)]
    assert seconds == [None, pytest.approx(6018, abs=1), pytest.approx(501.6, abs=0.1), None]


def test_the_tests_of_a_short_schedule_count(tmp_path: Path) -> None:
    store(tmp_path, "plain20", 1000.0)
    short = find_experiment("cifar-plain").runs[0].scaled(0.02)  # 1280 iterations, 13 tests, BN over 10 mini-batches
    (plan,) = estimates.estimates([short], tmp_path, HERE)
    iters = 1280 + 13 * 21_280 / 384 + 71_280 / 384
    assert plan.seconds == pytest.approx(1000 * iters / (64_000 + 64 * 32_800 / 384))


def test_each_size_of_images_is_calibrated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calibrated: list[Run] = []
    monkeypatch.setattr(estimates, "calibrate", lambda run, _: calibrated.append(run) or 1e-12)
    plain20, plain32 = find_experiment("cifar-plain").runs[:2]
    kinds = [plain20, plain32, plain20.resized(64)]
    estimates.estimates([*kinds, *(run.replace(seed=1) for run in kinds)], Path("none"), HERE)
    assert calibrated == [plain20, kinds[2]]


def test_without_finished_runs_it_is_calibrated_but_not_for_image_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "CALIBRATION_S", 1e-9)
    small, photographs = run_of("resnet8"), find_experiment("plain18-vs-res18").runs[0]
    one, other = estimates.estimates([small, photographs], Path("none"), HERE)
    assert one.seconds is not None and one.seconds > 0 and one.iters_left == small.recipe.total_iters
    assert other.seconds is None and other.how == "not, for image files"


@pytest.mark.parametrize(("dataset", "side"), [("cifar10", 32), ("shapes", 16), ("tiny-imagenet", 64)])
def test_noise_for_the_calibration_is_of_the_datasets_size(
    dataset: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = []

    def engine(_net: object, pipeline: InMemoryPipeline, *_: object, **__: object) -> SimpleNamespace:
        sides.append(pipeline.side)
        return SimpleNamespace(step=lambda *_: None, totals=lambda: None)

    monkeypatch.setattr(estimates, "CALIBRATION_S", 1e-9)
    monkeypatch.setattr(estimates, "Engine", engine)
    assert estimates.calibrate(run_of("resnet8").replace(dataset=dataset), HERE)
    assert sides == [(side, side)]


def test_a_recipe_with_caffes_momentum_is_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "CALIBRATION_S", 1e-9)
    assert estimates.calibrate(tiny_run(momentum_form="caffe"), HERE)


def test_a_dry_run_says_what_is_left_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "calibrate", lambda *_: 1e-12)
    out = run("run", "plain20-vs-plain56", "quickstart", "--dry-run", "--results-dir", tmp_path / "new")
    assert out.startswith("6 run(s) to train, 0 finished\n") and not (tmp_path / "new").exists()
    assert "plain20-vs-plain56 " in out and "2/2" in out and "128000" in out and "in all about " in out
    store_curve(tmp_path, "plain20", 9.5)
    out = run("run", "plain20-vs-plain56", "--dry-run", "--results-dir", tmp_path)
    assert out.startswith("1 run(s) to train, 1 finished\n") and "cifar10/plain20/" not in out
    only = run("run", "plain20-vs-plain56", "--only", "plain20", "--dry-run", "--results-dir", tmp_path)
    assert only == "0 run(s) to train, 1 finished\n"


def test_seeds_may_be_a_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "calibrate", lambda *_: 1e-12)
    words = "run", "plain20-vs-plain56", "--only", "plain20", "--dry-run", "--results-dir", tmp_path
    out = run(*words, "--seeds", "7,0-2")
    assert [f"plain20/seed{seed} " in out for seed in range(9)] == [seed in (0, 1, 2, 7) for seed in range(9)]


def test_version_and_short_help() -> None:
    assert run("--version") == "resrepro 0.1.0\n"
    assert run("list", "-h").startswith("Usage: ")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "{data}/imagenet: no such folder; expected {data}/imagenet/train/<wnid>/*.JPEG and the same in val, or "),
        (("--dataset", "folder:/nowhere"), "/nowhere: no such folder; expected /nowhere/train/<class>/*.JPEG and "),
        (("--dataset", "shapes"), "dataset 'shapes': image files are expected here: folder:PATH, imagenet, "),
    ],
)
def test_what_keeps_runs_from_being_trained_is_named(words: tuple[str, ...], line: str, tmp_path: Path) -> None:
    out = run("run", "plain18-vs-res18", "--dry-run", "--data-dir", tmp_path, "--device", "cpu", *words)
    assert out.count("cannot be trained: ") == 1 and "0m00s" not in out
    assert f"cannot be trained: {line.format(data=tmp_path)}" in out


def test_a_mini_batch_above_the_dataset_is_named_before_anything_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "calibrate", None)
    toml = tmp_path / "mine.toml"
    text = 'title = "T"\ndataset = "shapes"\n[recipe]\npreset = "cifar"\n{}\n[[run]]\narch = "resnet8"\n'
    for key, line in (("batch_size = 1000000", "20000 training images, fewer than a mini-batch of 1000000"),
                      ("train_images = 10", "10 training images, fewer than a mini-batch of 128")):  # fmt: skip
        toml.write_text(text.format(key))
        out = run("run", toml, "--dry-run", "--device", "cpu", "--results-dir", tmp_path / "new")
        assert f"cannot be trained: shapes: {line}" in out and "estimated: not, for what cannot be trained" in out


def test_images_that_differ_in_size_are_named_where_they_are_to_be_read_into_memory() -> None:
    out = run("run", "cifar-plain", "--dry-run", "--dataset", "imagenette", "--device", "cpu")
    assert "cannot be trained: dataset 'imagenette': its images differ in size; give --resize 32, or " in out
