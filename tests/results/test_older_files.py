"""Records and checkpoints of older versions are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from resrepro import results
from resrepro.config.recipe import SWITCHES
from resrepro.data.in_memory.images import Images
from resrepro.errors import UserError
from resrepro.models import saved
from resrepro.results.paths import RunFiles
from resrepro.results.records import RunRecord
from resrepro.runtime.device import Compute
from resrepro.training import checkpoint
from support.recipes import tiny_run
from support.records import record
from support.stored_runs import run_of
from support.trainings import moments, same, training, weights


def test_a_checkpoint_from_before_the_switches_goes_on(images: Images, fp32: Compute, tmp_path: Path) -> None:
    whole, first, second = (training(images, fp32) for _ in range(3))
    list(whole.steps())
    steps = first.steps()
    for _ in range(7):
        next(steps)
    files = RunFiles(folder=tmp_path)
    checkpoint.save(files, tiny_run(), first)
    state = torch.load(files.checkpoint, weights_only=True)
    state["run"] = {k: v for k, v in state["run"].items() if k.removeprefix("recipe.") not in SWITCHES}
    del state["engine"]["lr"], state[saved.DIGEST]
    torch.save(state, files.checkpoint)
    with pytest.raises(UserError, match=r"recipe.decay is 'all' there, but the experiment asks for 'weights'"):
        checkpoint.load(files, tiny_run(decay="weights"), training(images, fp32))
    checkpoint.load(files, tiny_run(), second)
    list(second.steps())
    assert same(weights(whole), weights(second))


@pytest.mark.parametrize(
    ("switch", "value", "said"),
    [("bn_devices", 2, "1"), ("decay", "weights", "'all'"), ("momentum_form", "caffe", "'pytorch'"),
     ("train_images", 20, "None")],
)  # fmt: skip
def test_a_record_from_before_the_switches_is_of_their_defaults(
    switch: str, value: object, said: str, tmp_path: Path
) -> None:
    run = tiny_run()
    recipe = json.loads(run.recipe.model_dump_json())
    old = {key: kept for key, kept in recipe.items() if key not in SWITCHES}
    results.write_record(results.run_files(tmp_path, run), record(run, recipe=old))
    assert results.read_finished(tmp_path, run) is not None
    with pytest.raises(UserError, match=rf"recipe.{switch} is {said} there, but the experiment asks for {value!r}"):
        results.read_finished(tmp_path, tiny_run(**{switch: value}))
    new = {**recipe, switch: value}
    results.write_record(results.run_files(tmp_path, run), record(run, recipe=new))
    with pytest.raises(UserError, match=rf"recipe.{switch} is {value!r} there, but the experiment asks for {said}"):
        results.read_finished(tmp_path, run)


def test_a_checkpoint_of_an_older_version_has_no_norms(images: Images, fp32: Compute) -> None:
    first, second = training(images, fp32), training(images, fp32)
    steps = first.steps()
    for _ in range(7):
        next(steps)
    state = first.state_dict()
    del state["norms"]
    second.load_state_dict(state)
    list(second.steps())
    assert moments(second) == [(9, "before drop 2"), (12, "end")]


def test_a_record_of_an_older_version_is_read(tmp_path: Path) -> None:
    run = run_of("plain8")
    files = results.run_files(tmp_path, run)
    older = record(run).model_dump()
    del older["start_from"]
    assert RunRecord(**older) == record(run)
    written = results.write_record(files, record(run))
    assert results.read_finished(tmp_path, run) == written
    with pytest.raises(UserError, match="start_from is None there, but the experiment asks for 'plain8'"):
        results.read_finished(tmp_path, run.model_copy(update={"start_from": run}))
