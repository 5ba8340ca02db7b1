"""`resrepro verify`: what is as recorded, and a line for each thing that is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resrepro import results
from resrepro.models import build
from resrepro.models.weights import read_metadata, save_weights
from resrepro.results.paths import RunFiles
from support.processes import error, run
from support.recipes import tiny_run
from support.trainings import runner


@pytest.fixture(scope="module")
def finished(few_images: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a run that has finished."""
    results_dir = tmp_path_factory.mktemp("finished")
    assert runner(results_dir).run_all([tiny_run()]) == []
    return results_dir


@pytest.fixture
def files(finished: Path, tmp_path: Path) -> RunFiles:
    return results.run_files(Path(shutil.copytree(finished, tmp_path / "results")), tiny_run())


def verify(files: RunFiles, *words: object, code: int = 0) -> str:
    return run("verify", *words, "--results-dir", files.folder.parents[2], code=code)


def edit(files: RunFiles, **changes: Any) -> None:
    record = json.loads(files.record.read_text())
    record.get("sha256", {}).pop("run.json", None)  # as of an older version: with it, verify compares nothing else
    files.record.write_text(json.dumps(record | changes))


def accept(files: RunFiles) -> None:
    """Put the digests of the files as they are now into the record."""
    record = results.read_record(files)
    results.write_record(files, record)


def test_a_run_is_as_recorded(files: RunFiles) -> None:
    record = results.read_record(files)
    before = {path: path.stat().st_mtime_ns for path in files.folder.iterdir()}
    for words in ([], ["resnet8"], ["shapes/resnet8/seed0"], [files.folder], [files.folder, "shapes"]):
        out = verify(files, *words)
        assert "shapes/resnet8/seed0: agrees with its record: SHA-256 of 5 files; curves.csv; predictions.csv; " in out
        assert f"test error (%) {record.final_test_error_pct}; test error with averaged BN (%) " in out
        assert out.endswith("1 finished run(s), 0 with differences\n") or words[1:]
        assert "differs" not in out and "arithmetic" not in out
    assert {path: path.stat().st_mtime_ns for path in files.folder.iterdir()} == before
    with_responses = verify(files, "--responses")
    assert f"clean training error (%) {record.final_train_error_clean_pct}; 0 of 7 responses differ" in with_responses


def test_a_run_in_the_place_of_another_is_a_difference(files: RunFiles) -> None:
    other = files.folder.parents[1] / "plain8" / files.folder.name
    shutil.copytree(files.folder, other)
    out = verify(files, "shapes/plain8", code=1)
    assert f"differs: {other}: the record there is of shapes/resnet8/seed0; move it to its own place" in out


def change_a_digit(path: Path) -> None:
    text = path.read_text()
    last = max(text.rindex(digit) for digit in "12345678" if digit in text)
    path.write_text(f"{text[:last]}{int(text[last]) + 1}{text[last + 1 :]}")


@pytest.mark.parametrize("name", ["curves", "gradients", "responses", "predictions"])
def test_a_changed_digit_is_named_by_each_command(name: str, files: RunFiles, toml: Callable[..., Path]) -> None:
    path: Path = getattr(files, name)
    where = ("--results-dir", files.folder.parents[2])
    change_a_digit(path)
    damaged = f"{name}.csv: damaged, for its SHA-256 is not the one in run.json"
    out = verify(files, code=1)
    assert f"differs: {files.folder}/{damaged}" in out and f"agrees with its record: {name}.csv" not in out
    assert f"damaged: {files.folder}/{damaged}" in run("show", toml(), *where)
    if name == "curves":  # which this figure is drawn from
        assert f"error: {files.folder}/{damaged}" in run("plot", toml(), *where, code=1)
    else:
        assert "error" not in run("plot", toml(), *where)
    assert damaged in run("watch", "--once", *where)
    assert damaged in run("report", *where, code=1)
    assert damaged in (files.folder.parents[2] / "report.md").read_text()


def test_responses_that_are_not_the_net_s_are_named(files: RunFiles) -> None:
    change_a_digit(files.responses)
    accept(files)
    assert "differs" not in verify(files)
    assert "differs: 1 of 7 responses differ" in verify(files, "--responses", code=1)
    files.responses.write_text(files.responses.read_text().replace("conv1", "conv9"))
    accept(files)
    assert "differs: responses.csv: 7 rows, which are not those of the net" in verify(files, "--responses", code=1)


def test_a_file_made_empty_or_taken_away_is_named(files: RunFiles) -> None:
    files.gradients.write_text("")
    files.responses.unlink()
    out = verify(files, code=1)
    assert "gradients.csv: damaged" in out and "responses.csv: missing; restore it; or type the run's command" in out


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("final_train_error_pct", "curves.csv: training error (%)"),
        ("final_test_error_pct", "curves.csv: test error (%)"),
        ("best_test_error_pct", "curves.csv: best test error (%)"),
        ("best_test_error_iter", "curves.csv: iteration of the best test error"),
        ("final_test_error_bn_reestimated_pct", "test error with averaged BN (%): "),
    ],
)
def test_a_changed_error_in_the_record_is_named(key: str, line: str, files: RunFiles) -> None:
    edit(files, **{key: json.loads(files.record.read_text())[key] + 1})
    assert line in verify(files, code=1)


def test_errors_are_checked_by_the_stored_predictions_alone(files: RunFiles) -> None:
    files.weights.unlink()
    edit(files, final_test_error_bn_reestimated_pct=1.25)
    out = verify(files, code=1)
    assert "predictions.csv: errors (" in out and "1.25" in out and "for no weights are stored" in out


def test_another_net_is_told_from_the_record_s_by_its_predictions(files: RunFiles) -> None:
    """Weights of the same shape whose digest and metadata are right."""
    about = read_metadata(files.weights)
    save_weights(files.weights, build("resnet8", num_classes=10, seed=5), about)
    accept(files)
    out = verify(files, code=1)
    assert "differs: test error (%): " in out and "of 100 predictions differ" in out


def test_damaged_foreign_and_other_weights_are_one_line(files: RunFiles) -> None:
    whole, about = files.weights.read_bytes(), read_metadata(files.weights)
    half = len(whole) // 2
    files.weights.write_bytes(whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :])
    assert "weights.safetensors: damaged, for its SHA-256" in verify(files, code=1)
    files.weights.write_bytes(whole[:half])
    accept(files)
    assert "weights.safetensors: damaged, or not a safetensors file" in verify(files, code=1)
    save_weights(files.weights, build("resnet8", num_classes=10, seed=5), {})
    accept(files)
    assert "weights.safetensors: weights of another run: " in verify(files, code=1)
    save_weights(files.weights, build("resnet14", num_classes=10, seed=5), about)
    accept(files)
    out = verify(files, code=1)
    assert "is not in resnet8" in out and out.count("differs: ") == 1


def test_what_is_not_there_is_said(files: RunFiles, tmp_path: Path) -> None:
    edit(files, dataset="cifar10")
    out = verify(files, "--data-dir", tmp_path)
    assert f"not checked: the net, for there is no cifar10 in {tmp_path}" in out and "test error" not in out
    files.weights.unlink()
    assert "not checked: the net, for no weights are stored" in verify(files)
    files.predictions.unlink()
    record = json.loads(files.record.read_text())
    del record["sha256"]
    files.record.write_text(json.dumps(record))
    out = verify(files)
    assert (
        "for this older record has no SHA-256 of them" in out
        and "the predictions, for none are stored" in out
        and "agrees with its record: curves.csv" in out
    )
    edit(files, status="diverged", diverged_iter=7)
    assert "not checked: the net, for the run diverged" in verify(files)


def test_another_arithmetic_is_not_compared_to_the_digit(files: RunFiles) -> None:
    edit(files, precision="tf32")  # which no CPU has
    out = verify(files, "--responses")
    assert "rounded otherwise than when it was recorded (precision tf32, here fp32)" in out
    assert "0 of 100 predictions differ" in out and "responses differ by 0 % at most" in out
    save_weights(files.weights, build("resnet8", num_classes=10, seed=5), read_metadata(files.weights))
    accept(files)
    out = verify(files, code=1)
    assert "differs: test error (%)" in out and " of 100 predictions differ" in out


def test_other_training_images_are_named(files: RunFiles) -> None:
    edit(files, images="0" * 64)
    out = verify(files, code=1)
    assert "the training images of shapes are not those that the run was trained on" in out
    assert "1 finished run(s), 1 with differences; 1 net(s) not tested" in out


def test_wrong_names_and_damaged_records_are_one_line(files: RunFiles) -> None:
    where = ("--results-dir", files.folder.parents[2])
    said = error("verify", "resnet9", *where)
    assert said.startswith("verify: there is no experiment or run 'resnet9'; did you mean '")
    unfinished = results.run_files(files.folder.parents[2], tiny_run(seed=1))
    results.write_asked(unfinished, tiny_run(seed=1))
    shutil.copy(files.curves, unfinished.curves)
    said = error("verify", "shapes/resnet8/seed1", *where)
    assert said == f"verify: no run of 'shapes/resnet8/seed1' is finished in {files.folder.parents[2]}"
    assert error("verify", "--device", "tpu", files.folder, *where).startswith("--device tpu: expected auto")
    edit(files, recipe={**results.read_record(files).recipe, "lrr": 0.1})
    assert "differs: run.json of resnet8, seed 0: recipe.lrr: Extra inputs are not permitted" in verify(files, code=1)
    files.record.write_text("{")
    assert "differs: " in verify(files, code=1) and "run.json: not a valid record" in verify(files, code=1)


def test_a_run_without_its_checkpoint_is_evaluated_by_its_weights(files: RunFiles) -> None:
    record = results.read_record(files)
    files.checkpoint.unlink()
    assert f"{record.final_test_error_pct:.2f}" in run("evaluate", files.folder)
