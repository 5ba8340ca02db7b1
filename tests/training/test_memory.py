"""How many runs fit, and runs that fit only with activation checkpointing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resrepro.config.presets import PRESETS
from resrepro.config.recipe import Recipe
from resrepro.errors import UserError
from resrepro.models.complexity import complexity
from resrepro.runtime.device import Compute
from resrepro.training.memory import needed_bytes, plan
from support.recipes import tiny_run
from support.reporters import Silent
from support.trainings import runner, state

pytestmark = pytest.mark.usefixtures("few_images")


RUNS = [tiny_run("resnet8"), tiny_run("plain8"), tiny_run("resnet8", seed=1)]


GIB = 2**30
RECIPE = Recipe.model_validate(PRESETS["cifar"])


NEEDS = [(2 * GIB, 1 * GIB), (6 * GIB, 2 * GIB), (2 * GIB, 1 * GIB)]


@pytest.mark.parametrize(
    ("free", "jobs", "expected"),
    [
        (16, 1, (1, False)),
        (16, 3, (3, False)),
        (16, 9, (3, False)),  # not more than there are runs
        (16, None, (3, False)),
        (9, None, (2, False)),  # the two largest
        (5, None, (1, True)),
        (9, 3, (3, True)),  # recomputing makes them fit
        (1, 1, (1, True)),  # one is tried in any case
        (None, 3, (3, False)),
    ],
)
def test_plan(free: int | None, jobs: int | None, expected: tuple[int, bool]) -> None:
    assert plan(NEEDS, None if free is None else free * GIB, jobs, auto=4) == expected


def test_jobs_that_do_not_fit_are_one_line_that_says_how_many_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "--jobs 3: the largest run needs about 2.0 GiB, 3.0 GiB are free for all; --jobs 2 fits"
    with pytest.raises(UserError, match=message):
        plan(NEEDS, 3 * GIB, 3, auto=4)
    assert plan([], 0, 3, auto=4)[0] == 1
    monkeypatch.setattr(Compute, "free_bytes", lambda _: 2**20)
    with pytest.raises(UserError, match="--jobs 1 fits"):
        runner(tmp_path, Silent()).run_all(RUNS, 2)
    assert list(tmp_path.iterdir()) == []  # nothing was started


def test_a_process_in_place_of_one_that_died_takes_what_the_others_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, threads = replace(runner(tmp_path, Silent()), num_sharing=4), list[int]()
    as_is = max(first._needs(run)[0] for run in RUNS)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(Compute, "free_bytes", lambda _: as_is)
    with pytest.raises(UserError, match=r"--processes 4: .*--processes 1 fits"):
        first.prepare(RUNS, 2)
    second = replace(first, replaces=True)
    assert second.prepare(RUNS, 2) == 1 and not second._execution.activation_checkpointing
    assert threads == [2]  # its share of the cores is that of the first


def test_evaluation_counts_where_it_needs_more_than_training() -> None:
    """2,000 images at once, three maps of 16x32x32, fp32: 375 MiB; training keeps 94 MiB in bf16 for 128 images."""
    compute = Compute(device=torch.device("cuda"), precision="bf16")
    counts = complexity("resnet20")
    needed = needed_bytes(counts, RECIPE, compute, activation_checkpointing=False)
    assert needed == pytest.approx(1.25 * (375 * 2**20 + 16 * counts.num_parameters) + 512 * 2**20, rel=1e-3)
    deep = needed_bytes(complexity("resnet110"), RECIPE, compute, activation_checkpointing=False)
    assert deep > needed


class Noting(Silent):
    def started(self, *arguments: Any) -> None:
        self.notes = arguments[1].engine.notes


def test_a_run_that_fits_only_recomputed_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner(tmp_path / "as it is", Silent()).run_all(RUNS[:1]) == []
    monkeypatch.setattr(Compute, "free_bytes", lambda _: 2**20)
    reporter = Noting()
    tight = runner(tmp_path / "tight", reporter)
    assert tight.run_all(RUNS[:1]) == []
    assert tight._execution.activation_checkpointing and any("computed twice" in note for note in reporter.notes)
    assert state(tmp_path / "tight", RUNS[0]) == state(tmp_path / "as it is", RUNS[0])
