"""The classes that a trained net predicts are kept, image by image, and give the errors of the record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from resrepro import results
from resrepro.data.dataset import Split
from resrepro.data.in_memory.images import Images
from resrepro.evaluation.single_view import EVALUATION_BATCH, SingleView
from resrepro.results import csv_rows
from resrepro.results.records import Prediction
from resrepro.runtime.device import Compute
from resrepro.runtime.distributed import World
from support.recipes import tiny_run
from support.trainings import runner, training


class Apart(World):
    """One of several processes, that never hears of the others."""

    def all_reduce_sum(self, tensor: torch.Tensor) -> None: ...


@pytest.mark.parametrize("size", [1, 5, 13, 500])
def test_each_image_has_its_predicted_class_and_its_label(
    size: int, images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EVALUATION_BATCH, "cpu", size)
    t = training(images, fp32)
    list(t.steps())
    view = SingleView(t.engine.net, t.engine.batches.test_split, fp32)
    error_pct = view.measure().error_pct
    predicted, labels = view.predictions()
    assert torch.equal(labels, images.test_labels)
    with torch.no_grad():
        logits = t.engine.net.eval()(t.engine.batches.test(torch.arange(13))[0])
    assert torch.equal(predicted, logits.argmax(1))
    assert error_pct == 100 * (predicted != labels).sum().item() / 13


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("at_once", [None, 2, 5])
def test_the_processes_of_a_world_predict_each_image_once(
    size: int, at_once: int | None, images: Images, fp32: Compute
) -> None:
    engine = training(images, fp32).engine
    part = engine.batches.test_split
    bound = Split(num_images=13, inputs=part.inputs, at_once=at_once)
    shards = [SingleView(engine.net, bound, fp32, Apart(rank=rank, size=size)) for rank in range(size)]
    whole = SingleView(engine.net, part, fp32)
    for _ in range(2):  # what an earlier measurement left does not count
        for view in (*shards, whole):
            view.measure()
    assert torch.equal(torch.stack([shard.predictions() for shard in shards]).sum(0), whole.predictions())
    assert len(set(whole.predictions()[1].tolist())) > 1


@pytest.fixture(scope="module")
def finished(few_images: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a run that has finished."""
    results_dir = tmp_path_factory.mktemp("finished")
    assert runner(results_dir).run_all([tiny_run()]) == []
    return results_dir


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "results"))


def test_predictions_give_the_errors_of_the_record(finished: Path) -> None:
    files = results.run_files(finished, tiny_run())
    record = results.read_record(files)
    predictions = csv_rows.read_rows(files.predictions, Prediction)
    assert files.predictions.read_text().startswith("image,label,moving,bn_averaged\n0,")
    assert [p.image for p in predictions] == list(range(100))
    errors = record.final_test_error_pct, record.final_test_error_bn_reestimated_pct
    assert Prediction.errors_pct(predictions) == errors
    assert any(p.moving != p.bn_averaged for p in predictions) and len({p.label for p in predictions}) == 10


@pytest.mark.parametrize("name", ["predictions.csv", "weights.safetensors", "responses.csv"])
def test_a_file_that_a_finished_run_lacks_is_made_from_its_checkpoint(name: str, copied: Path) -> None:
    files = results.run_files(copied, tiny_run())
    before, record, content = files.record.read_text(), results.read_record(files), (files.folder / name).read_bytes()
    (files.folder / name).unlink()
    assert runner(copied).run_all([tiny_run()]) == []
    if name.endswith(".csv"):
        assert files.record.read_text() == before
        assert (files.folder / name).read_bytes() == content
    else:  # the order of the metadata is not fixed
        again = results.read_record(files)
        assert again == record.model_copy(update={"sha256": again.sha256})
        assert results.damaged_files([files.weights], again) == []


def older(results_dir: Path) -> results.RunFiles:
    """Make the run one of before there were predictions, weights and digests."""
    files = results.run_files(results_dir, tiny_run())
    files.predictions.unlink()
    files.weights.unlink()
    record = json.loads(files.record.read_text())
    del record["sha256"]
    files.record.write_text(json.dumps(record))
    return files


def test_an_older_run_is_complete_without_predictions_and_weights(copied: Path) -> None:
    files = older(copied)
    files.checkpoint.unlink()
    assert results.read_complete(copied, tiny_run()) == results.read_record(files)
    assert results.read_record(files).sha256 == {}


def test_an_older_run_with_a_checkpoint_is_completed(copied: Path) -> None:
    files = older(copied)
    before = results.read_record(files)
    assert runner(copied).run_all([tiny_run()]) == []
    record = results.read_record(files)
    names = ["curves.csv", "gradients.csv", "predictions.csv", "responses.csv", "run.json", "weights.safetensors"]
    assert sorted(record.sha256) == names
    assert record == before.model_copy(update={"sha256": record.sha256})


def test_a_damaged_file_that_stays_keeps_its_digest(copied: Path) -> None:
    files = results.run_files(copied, tiny_run())
    files.responses.write_text(files.responses.read_text().replace("1", "2"))
    files.weights.unlink()
    assert runner(copied).run_all([tiny_run()]) == []
    (line,) = results.damaged_files(files.csvs, results.read_record(files))
    assert line.startswith(f"{files.responses}: damaged")


def test_predictions_that_do_not_give_the_errors_of_the_record_are_not_written(copied: Path) -> None:
    files = older(copied)
    text = files.record.read_text()
    record = json.loads(text)
    record["final_test_error_bn_reestimated_pct"] += 1.0  # as another machine might have rounded
    files.record.write_text(json.dumps(record))
    assert runner(copied).run_all([tiny_run()]) == []
    assert not files.predictions.exists() and files.weights.exists()
    assert "predictions.csv" not in results.read_record(files).sha256
