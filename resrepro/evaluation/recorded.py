"""Writing down what an evaluation found, for the tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resrepro import results
from resrepro.evaluation.scoring import Scores, Setup
from resrepro.evaluation.trained import TrainedNet
from resrepro.records import Evaluation
from resrepro.results import RunFiles


def record(
    members: Sequence[TrainedNet], setup: Setup, scores: Scores, *, scales: tuple[int, ...], commit: str | None
) -> Path | None:
    """The scores of a finished run go beside its record, those of several into their data set's `ensembles.json`.

    Returns:
        The file; None where nothing is recorded: a look at some images, weights of unknown origin, an unfinished run,
        or one whose folder is not that of its data set.
    """
    records = [net.record for net in members if net.record is not None]
    places = {net.results_dir for net in members}
    results_dir = places.pop()
    if setup.max_images or scores.reestimated is None or len(records) < len(members) or places or results_dir is None:
        return None
    files = RunFiles(folder=members[0].weights.parent)
    path = files.evaluations if len(members) == 1 else results.ensembles_file(results_dir, members[0].dataset)
    evaluation = Evaluation(
        members=tuple(net.name for net in members),
        finished_at=tuple(record.finished_at for record in records),
        protocol=setup.protocol,
        scales=scales,
        moving=scores.moving,
        reestimated=scores.reestimated,
        device=setup.compute.name,
        precision=setup.compute.precision,
        commit=commit,
    )
    results.record_evaluation(path, evaluation)
    return path
