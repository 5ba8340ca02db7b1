"""Write checkpoints atomically, and read them without running code from the file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from resrepro.config.run import Run
from resrepro.errors import UserError, first_line
from resrepro.files import write_atomically
from resrepro.models.weights import CHECKPOINT_FORMAT, read_saved
from resrepro.results import same_run
from resrepro.runtime.device import device_lost, out_of_memory
from resrepro.runtime.distributed import World
from resrepro.training.loop import Training


def save(path: Path, run: Run, training: Training) -> None:
    """Write all that a later process needs to go on with the training.

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
    content = io.BytesIO()  # torch hides the reason where the disk is full
    torch.save(state, content)
    write_atomically(path, lambda file: file.write(content.getbuffer()))


def load(path: Path, run: Run, training: Training) -> None:
    """Put `training` where the checkpoint was taken.

    Raises:
        UserError: as `reading`; or the run began in another arithmetic, or with other images.
    """
    with reading(path, run, training.engine.world) as state:
        _check_arithmetic(state["arithmetic"], training.engine.arithmetic, path)
        images = training.engine.batches.fingerprint
        if state.get("images", images) != images:  # older checkpoints do not say
            raise UserError(
                f"{path}: the training images are not those that the run began with: were some added or taken away, or "
                f"was a store prepared since? Have them as they were, or move {path.parent} away to start anew"
            )
        training.load_state_dict(state)


@contextmanager
def reading(path: Path, run: Run, world: World) -> Iterator[dict[str, Any]]:
    """Read the checkpoint of a run in the first process, for all; the block then loads what it needs of it.

    Raises:
        UserError: the file is damaged or no checkpoint of ours, is of another run, or does not fit where it is loaded.
    """
    state = world.on_rank_zero(lambda: read_saved(path))
    if not isinstance(state, dict) or state.get("format") != CHECKPOINT_FORMAT:
        raise UserError(f"{path}: not a checkpoint of resrepro; move it away to start the run anew")
    try:
        same_run.check(state["run"], run, path)
        yield state
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        if out_of_memory(error) or device_lost(error):
            raise
        raise UserError(f"{path}: does not fit the run ({first_line(error)}); move it away to start anew") from error


def _check_arithmetic(began: dict[str, str], now: dict[str, str], path: Path) -> None:
    for key, value in now.items():
        if began[key] != value:
            fix = f"--{key} {began[key]}" if key != "kernels" else "the machine or compiler it began with"
            raise UserError(
                f"{path}: the run began with {key} {began[key]}, now it is {value}; go on with {fix}, or move "
                f"{path.parent} away to start anew"
            )
