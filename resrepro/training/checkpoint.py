"""Checkpoints: written atomically, read without running code."""

from __future__ import annotations

from pathlib import Path

import torch

from resrepro.atomic import write_atomically
from resrepro.errors import UserError
from resrepro.experiment import Run
from resrepro.results import check_same, identity
from resrepro.training.loop import Training
from resrepro.weights import CHECKPOINT_FORMAT, first_line, read_saved


def save(path: Path, run: Run, training: Training) -> None:
    """Raises UserError if it cannot be written; the checkpoint before it then stays."""
    state = {"format": CHECKPOINT_FORMAT, "run": identity(run), **training.state_dict()}
    write_atomically(path, lambda file: torch.save(state, file))


def load(path: Path, run: Run, training: Training) -> None:
    """Puts `training` where the checkpoint was taken.

    Raises:
        UserError: damaged, not ours, or of another run.
    """
    state = read_saved(path, training.engine.compute.device)
    if not isinstance(state, dict) or state.get("format") != CHECKPOINT_FORMAT:
        raise UserError(f"{path}: not a checkpoint of resrepro; move it away to start the run anew")
    check_same(state["run"], run, path)
    try:
        training.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise UserError(f"{path}: does not fit the run ({first_line(error)}); move it away to start anew") from error
