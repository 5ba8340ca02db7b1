"""Find the paper's experiments on other data, on images of another size or under a shortened schedule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from resrepro.config.datasets import dataset_title
from resrepro.config.experiment import Experiment
from resrepro.config.run import Variation
from resrepro.errors import UserError
from resrepro.results.records import RunRecord


@dataclass(frozen=True, kw_only=True)
class VariedExperiments:
    """Hold experiments of which one variation has runs; the note says what it changes."""

    title: str
    note: str
    experiments: tuple[Experiment, ...]


def varied_experiments(shipped: list[Experiment], stored: dict[Path, RunRecord]) -> list[VariedExperiments]:
    """Find each variation that has runs of a shipped experiment."""
    runs = {folder.parent for folder in stored}
    found: dict[tuple[str, str], list[Experiment]] = {}
    for dataset, scale, size in sorted({_asked(record) for record in stored.values()}):
        for own in shipped:
            crops = own.runs[0].recipe.scale_crop is not None
            image_size, resize = (size or None, None) if crops else (None, size or None)
            asked = Variation(dataset=dataset, schedule_scale=scale, image_size=image_size, resize=resize)
            try:
                changed = own.variant(asked)
            except UserError:  # too short a schedule for this one, or no crops of that size
                continue
            if changed.is_varied and any(run.path.parent in runs for run in changed.runs):
                of_this = found.setdefault((own.own_dataset, changed.variation.options), [])
                of_this += [changed] * (changed not in of_this)
    return [_scope(tuple(experiments)) for experiments in found.values()]


def _asked(record: RunRecord) -> tuple[str, float, int]:
    """Return dataset, scale of the schedule, and size of the images; 0 if they are taken as they are."""
    crop = record.recipe.get("scale_crop") or {"size": 0}
    return record.dataset, record.schedule_scale, crop["size"] or record.recipe.get("resize") or 0


def _scope(experiments: tuple[Experiment, ...]) -> VariedExperiments:
    first, notes = experiments[0], []
    variation, title = first.variation, dataset_title(first.dataset)
    if variation.dataset is not None:
        title += f" in place of {dataset_title(first.own_dataset)}"
        notes.append("data other than the paper's")
    size = variation.image_size or variation.resize
    if size is not None:
        title += f", {size} pixels"
        notes.append(f"images {'of' if variation.image_size else 'resized to'} {size} pixels, not the paper's size")
    if variation.schedule_scale != 1:
        title += f", schedule × {variation.schedule_scale:g}"
        notes.append(f"a schedule {variation.schedule_scale:g} times as long, drops of the learning rate included")
    note = (
        f"These runs had {' and '.join(notes)}. Do not compare their errors with the paper's; the question is only "
        "whether differences have the same sign. These runs do not count for the claims of the paper."
    )
    return VariedExperiments(title=title, note=note, experiments=experiments)
