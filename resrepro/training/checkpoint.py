"""Write checkpoints atomically, and read them strictly; where the newest is damaged, the one before it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, Field, ValidationError

from resrepro.config.run import Run
from resrepro.config.strict import StrictModel, first_mistake
from resrepro.errors import UserError, first_line
from resrepro.models.saved import Damaged, read_saved, write_saved
from resrepro.models.weights import CHECKPOINT_FORMAT
from resrepro.results import same_run
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint, LayerNorms, Session
from resrepro.runtime.device import device_lost, out_of_memory
from resrepro.training.loop import Training


class _Totals(StrictModel):
    loss: float
    num_wrong: float
    num_images: float


class _Position(StrictModel):
    """Says where a training is, beside its tensors; older checkpoints lack what has a default."""

    model_config = ConfigDict(extra="ignore")

    iteration: int
    warmup_opened_iter: int | None
    drops: list[int] = Field(default_factory=list)
    points: list[CurvePoint]
    norms: list[LayerNorms] = Field(default_factory=list)
    shares: list[Session] = Field(default_factory=list)
    at_last_point: _Totals
    at_gate_check: _Totals
    elapsed_s: float = Field(ge=0)
    arithmetic: dict[str, str]
    images: str | None = None

    def check(self, run: Run) -> None:
        """Check that the run can have come there: ValueError where it cannot."""
        first, last = run.first_iter, run.recipe.total_iters
        if not first <= self.iteration <= last:
            raise ValueError(f"iteration {self.iteration}, expected {first} to {last}")
        passed = range(first + 1, self.iteration + 1)
        due = [i for i in passed if i % run.recipe.curve_every_iters == 0 or i == last]
        before = [i for i in due if i != self.iteration]  # where it was stopped while it measured the last one
        if [point.iteration for point in self.points] not in (due, before):
            raise ValueError(f"curve points other than one each {run.recipe.curve_every_iters} iterations")
        moments = [*self.drops, self.iteration]
        if moments != sorted(moments) or (self.warmup_opened_iter or 0) > self.iteration:
            raise ValueError("a rate that changed after the last iteration")


def save(files: RunFiles, run: Run, training: Training) -> None:
    """Write all that a later process needs to go on with the training, and keep the checkpoint before it.

    Nothing is written of a net that is not finite: it diverges at the next curve point, after a resume again.

    Raises:
        UserError: the file cannot be written; the checkpoint before it stays.
    """
    state = {
        "format": CHECKPOINT_FORMAT,
        "run": same_run.of_run(run),
        "arithmetic": training.engine.arithmetic,
        "images": training.engine.batches.fingerprint,
        **training.state_dict(),
    }
    if _is_finite(state["engine"]):
        write_saved(files.checkpoint, state, files.previous_checkpoint)


def load(files: RunFiles, run: Run, training: Training) -> None:
    """Put `training` where the newest checkpoint that is whole was taken; a damaged one is removed, with a note.

    Raises:
        UserError: none is whole; or does not fit; or the run began in another arithmetic, or with other images.
    """
    world = training.engine.world
    path, state, note = world.on_rank_zero(lambda: _newest(files))
    with _fitting(state, path, run):
        position = _Position.model_validate(state)
        position.check(run)
        if not _is_finite(state["engine"]):
            raise ValueError("values that are not finite")
        _check_arithmetic(position.arithmetic, training.engine.arithmetic, path)
        if position.images not in (None, training.engine.batches.fingerprint):
            raise UserError(
                f"{path}: the training images are not those that the run began with: were some added or taken away, or "
                f"was a store prepared since? Have them as they were, or move {path.parent} away to start anew"
            )
        training.load_state_dict(state)
    if note:
        training.engine.notes.append(note)
        if world.is_rank_zero:
            path.replace(files.checkpoint)  # else the next one would put the damaged one in its place


def _newest(files: RunFiles) -> tuple[Path, Any, str]:
    """Read the newest checkpoint that is whole; return its path, too, and a note where it is not the last one."""
    if files.checkpoint.exists():
        try:
            return files.checkpoint, read_saved(files.checkpoint), ""
        except Damaged as damaged:
            if not files.previous_checkpoint.exists():
                raise
            what = str(damaged).partition(";")[0]
    else:  # the process was killed between two renames
        what = f"{files.checkpoint}: missing"
    note = f"{what}; going on from the checkpoint before it"
    return files.previous_checkpoint, read_saved(files.previous_checkpoint), note


@contextmanager
def _fitting(saved: Any, path: Path, run: Run) -> Iterator[None]:
    """Check that what was read is a checkpoint of the run; the block then loads what it needs of it.

    Raises:
        UserError: it is no checkpoint of ours, is of another run, or does not fit where it is loaded.
    """
    if not isinstance(saved, dict) or saved.get("format") != CHECKPOINT_FORMAT:
        raise UserError(f"{path}: not a checkpoint of resrepro; move it away to start the run anew")
    try:
        same_run.check(saved["run"], run, path)
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if out_of_memory(error) or device_lost(error):
            raise
        why = first_mistake(error) if isinstance(error, ValidationError) else first_line(error)
        raise UserError(f"{path}: does not fit the run ({why}); move it away to start anew") from error


def _is_finite(engine: dict[str, Any]) -> bool:
    """Tell whether weights, BN averages, momenta, learning rate and totals are finite. Waits for the device once."""
    tensors = (*engine["model"].values(), *engine["momentum"].values(), engine["totals"])
    finite = torch.stack([tensor.isfinite().all() for tensor in tensors]).all()
    return bool(finite) and math.isfinite(engine.get("lr", 0.0))


def _check_arithmetic(began: dict[str, str], now: dict[str, str], path: Path) -> None:
    for key, value in now.items():
        if began[key] != value:
            fix = f"--{key} {began[key]}" if key != "kernels" else "the machine or compiler it began with"
            fix += ", on a device that computes in it" if key == "precision" else ""
            raise UserError(
                f"{path}: the run began with {key} {began[key]}, now it is {value}; go on with {fix}, or move "
                f"{path.parent} away to start anew"
            )
