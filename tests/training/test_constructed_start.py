"""Runs that start from another's weights, and the files of analyses: written, repaired, left alone."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from resrepro import results
from resrepro.config.run import Run
from resrepro.models.saved import read_saved
from resrepro.results.csv_rows import read_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import ConstructedComparison, LayerNorms, Response
from resrepro.training import checkpoint
from resrepro.training.runner import Stopped
from resrepro.training.step import Engine
from support.recipes import tiny_recipe, tiny_run
from support.reporters import Silent
from support.trainings import Killed, rows, runner

pytestmark = pytest.mark.usefixtures("few_images")


SOURCE = tiny_run("plain8")
DEEP = Run(dataset="shapes", name="deep", arch="plain14", recipe=tiny_recipe(), seed=0, label="made", start_from=SOURCE)


def files(results_dir: Path, run: Run) -> results.RunFiles:
    return results.run_files(results_dir, run)


def model(results_dir: Path, run: Run) -> dict[str, Any]:
    return read_saved(files(results_dir, run).checkpoint)["engine"]["model"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, few_images: None) -> Path:
    """A results folder in which `DEEP` was asked for."""
    folder = tmp_path_factory.mktemp("done")
    assert runner(folder).run_all([DEEP]) == []
    return folder


def test_what_a_run_starts_from_is_trained_before_it(done: Path) -> None:
    record, source = results.read_finished(done, DEEP), results.read_finished(done, SOURCE)
    assert record is not None and source is not None
    assert (record.start_from, source.start_from) == ("plain8", None)
    assert [row["iteration"] for row in rows(done, DEEP)] == [10, 12]
    assert {row["lr"] for row in rows(done, DEEP)} == {0.05 / 100}
    train, test = read_rows(files(done, DEEP).identity, ConstructedComparison)
    assert (train.part, test.part, train.num_images, test.num_images) == ("train", "test", 500, 100)
    for row, own in ((train, source.final_train_error_clean_pct), (test, source.final_test_error_pct)):
        assert row.shallower_error_pct == own and row.error_pct == pytest.approx(own, abs=0.05)
        assert row.largest_difference < 1e-4 * row.largest_output


def test_it_waits_for_its_source_where_several_go_at_once(tmp_path: Path) -> None:
    other = DEEP.model_copy(update={"name": "deeper", "arch": "plain20"})
    assert runner(tmp_path).run_all([DEEP, other, SOURCE], 2) == []
    assert all(results.read_finished(tmp_path, run) for run in (SOURCE, DEEP, other))


def test_it_takes_over_at_the_first_drop_with_the_source_s_weights(done: Path) -> None:
    norms = read_rows(files(done, DEEP).gradients, LayerNorms)
    assert list(dict.fromkeys((n.iteration, n.moment) for n in norms)) == [
        (6, "initialization"), (9, "before drop 2"), (12, "end"),
    ]  # fmt: skip
    by_name = {n.name: n.weight_norm for n in norms if n.iteration == 6}
    source = model(done, SOURCE)
    assert by_name["layer2.0.conv2"] == pytest.approx(source["layer2.0.conv2.weight"].norm().item())
    assert by_name["layer2.1.conv2"] == pytest.approx(32**0.5)  # a one for each channel


def test_a_run_leaves_its_responses_and_gradients(done: Path) -> None:
    responses = read_rows(files(done, SOURCE).responses, Response)
    assert [r.layer for r in responses] == list(range(1, 8)) and {r.num_images for r in responses} == {500}
    assert len(read_rows(files(done, SOURCE).gradients, LayerNorms)) == 4 * 8


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("before the first checkpoint", marks=pytest.mark.slow),
        "after it",
        pytest.param("after the second", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_it_ends_bit_identical(
    moment: str, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, calls = checkpoint.save, []

    def die(place: RunFiles, run: Run, training: Any) -> None:
        calls.append(run.name)
        if moment == "before the first checkpoint" and run is DEEP:
            raise Killed
        save(place, run, training)
        if calls.count("deep") == (1 if moment == "after it" else 2):
            raise Killed

    monkeypatch.setattr(checkpoint, "save", die)
    with pytest.raises(Killed):
        runner(tmp_path).run_all([DEEP])
    monkeypatch.undo()
    made = files(tmp_path, DEEP).identity.read_text()
    assert runner(tmp_path).run_all([DEEP]) == []
    assert files(tmp_path, DEEP).identity.read_text() == made == files(done, DEEP).identity.read_text()
    for name in ("gradients", "responses"):
        assert getattr(files(tmp_path, DEEP), name).read_text() == getattr(files(done, DEEP), name).read_text()
    assert rows(tmp_path, DEEP) == rows(done, DEEP)
    a, b = model(tmp_path, DEEP), model(done, DEEP)
    assert all(a[k].equal(b[k]) for k in a)


def test_norms_beyond_the_checkpoint_are_taken_back_at_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, seen = checkpoint.save, []

    def die(place: RunFiles, run: Run, training: Any) -> None:
        if training.iteration > 5:
            raise Killed
        save(place, run, training)

    def moments() -> list[str]:
        return list(dict.fromkeys(n.moment for n in read_rows(files(tmp_path, SOURCE).gradients, LayerNorms)))

    monkeypatch.setattr(checkpoint, "save", die)
    with pytest.raises(Killed):
        runner(tmp_path).run_all([SOURCE])
    monkeypatch.undo()
    assert moments() == ["initialization", "before drop 1", "before drop 2"]
    monkeypatch.setattr(Silent, "started", lambda *_: seen.append(moments()))
    assert runner(tmp_path).run_all([SOURCE]) == []
    assert seen == [["initialization"]] and len(moments()) == 4


def test_a_lost_analysis_is_made_anew_of_the_checkpoint_and_the_record_stays(done: Path) -> None:
    own = files(done, DEEP)
    paths = (own.responses, own.identity, own.gradients)
    before = [path.read_text() for path in paths]
    record = own.record.stat().st_mtime_ns
    for path in paths:
        path.unlink()
        assert runner(done).run_all([DEEP]) == [] and not own.asked.exists()
        assert [path.read_text() for path in paths] == before and own.record.stat().st_mtime_ns == record
    own.checkpoint.rename(own.folder / "away")
    own.responses.unlink()
    assert runner(done).run_all([DEEP]) == [] and not own.responses.exists()  # finished all the same
    own.checkpoint.write_bytes(b"of an older version")
    assert runner(done).run_all([DEEP]) == [] and not own.responses.exists()
    (own.folder / "away").rename(own.checkpoint)
    assert runner(done).run_all([DEEP]) == [] and own.responses.read_text() == before[0]


def test_without_the_source_s_weights_it_is_one_line_and_the_others_go_on(tmp_path: Path) -> None:
    assert runner(tmp_path).run_all([SOURCE]) == []
    source = files(tmp_path, SOURCE)
    source.checkpoint.unlink()
    weights = source.weights.read_bytes()
    source.weights.unlink()
    other = tiny_run("resnet8")
    (error,) = runner(tmp_path).run_all([DEEP, other])
    assert "plain8/seed0: no weights are stored: neither weights.safetensors nor checkpoint.pt" in error
    assert results.read_finished(tmp_path, other) is not None
    assert not files(tmp_path, DEEP).record.exists()
    source.weights.write_bytes(weights[:-1] + b"x")
    assert "weights.safetensors: damaged" in runner(tmp_path).run_all([DEEP])[0]
    source.weights.write_bytes(files(tmp_path, other).weights.read_bytes())  # the same keys, another architecture
    assert "weights.safetensors: damaged" in runner(tmp_path).run_all([DEEP])[0]


def test_the_source_s_stored_weights_are_enough(done: Path, tmp_path: Path) -> None:
    shutil.copytree(files(done, SOURCE).folder, files(tmp_path, SOURCE).folder)
    files(tmp_path, SOURCE).checkpoint.unlink()
    assert runner(tmp_path).run_all([DEEP]) == []
    assert files(tmp_path, DEEP).identity.read_text() == files(done, DEEP).identity.read_text()
    a, b = model(tmp_path, DEEP), model(done, DEEP)
    assert all(a[k].equal(b[k]) for k in a)


def test_a_signal_stops_it_between_two_mini_batches(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(files(done, SOURCE).folder, files(tmp_path, SOURCE).folder)
    mini_batch, drawn = Engine.mini_batch, list[int]()

    def interrupted(self: Engine, iteration: int) -> Any:
        drawn.append(iteration)
        if len(drawn) == 3:
            signal.raise_signal(signal.SIGTERM)
        return mini_batch(self, iteration)

    monkeypatch.setattr(Engine, "mini_batch", interrupted)
    with pytest.raises(Stopped, match="shapes/deep/seed0: stopped at iteration 6"):
        runner(tmp_path).run_all([DEEP])
    assert len(drawn) == 3


def test_a_source_that_diverged_is_one_line(tmp_path: Path) -> None:
    source = SOURCE.model_copy(update={"recipe": tiny_recipe(lr=1e30)})
    (error,) = runner(tmp_path).run_all([DEEP.model_copy(update={"start_from": source})])
    assert error == "shapes/deep/seed0: starts from shapes/plain8/seed0, which diverged"
    norms = read_rows(files(tmp_path, source).gradients, LayerNorms)  # a diverged run has those of its start
    assert {n.moment for n in norms} == {"initialization"} and len(norms) == 8
    assert not files(tmp_path, source).responses.exists()
