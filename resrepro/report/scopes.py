"""Experiments beside the paper's own data and schedule: shortened, on other data, or beyond the paper."""

from __future__ import annotations

from dataclasses import dataclass

from resrepro.experiment import Experiment
from resrepro.figures.drawing import dataset_title
from resrepro.records import RunRecord
from resrepro.report.runs import stored_name


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Experiments on one data set under one schedule, as asked for. `own_dataset`: their TOML's."""

    title: str
    note: str
    experiments: tuple[Experiment, ...]
    own_dataset: str
    schedule_scale: float = 1.0

    @staticmethod
    def own(experiment: Experiment) -> Scope:
        return Scope(title="", note="", experiments=(experiment,), own_dataset=experiment.dataset)

    @property
    def options(self) -> str:
        """What the command line needs beside the experiment's name."""
        dataset = self.experiments[0].dataset
        other = "" if dataset == self.own_dataset else f" --dataset {dataset}"
        return other + ("" if self.schedule_scale == 1 else f" --schedule-scale {self.schedule_scale:g}")


def variants(shipped: list[Experiment], records: list[RunRecord]) -> list[Scope]:
    """A scope for each shortened schedule and each other data set that has runs of a shipped experiment."""
    stored = {(record.dataset, stored_name(record)) for record in records}
    found = []
    for dataset, scale in sorted({(record.dataset, record.schedule_scale) for record in records}):
        for own_dataset in sorted({experiment.dataset for experiment in shipped}):
            if (dataset, scale) == (own_dataset, 1):
                continue
            changed = [e.variant(dataset=dataset, schedule_scale=scale) for e in shipped if e.dataset == own_dataset]
            begun = tuple(e for e in changed if any((r.dataset, r.stored_name) in stored for r in e.runs))
            if begun:
                found.append(_scope(begun, own_dataset, dataset, scale))
    return found


def _scope(experiments: tuple[Experiment, ...], own_dataset: str, dataset: str, scale: float) -> Scope:
    title, notes = dataset_title(dataset), []
    if dataset != own_dataset:
        title += f" in place of {dataset_title(own_dataset)}"
        notes.append("other data than the paper's")
    if scale != 1:
        title += f", schedule × {scale:g}"
        notes.append(f"a schedule {scale:g} times as long as the paper's, drops of the learning rate included")
    note = (
        f"These runs had {' and '.join(notes)}. Their errors are not to be compared with the paper's; what is asked "
        "here is whether the same claims hold in direction. Nothing of this counts as reproduced."
    )
    return Scope(title=title, note=note, experiments=experiments, own_dataset=own_dataset, schedule_scale=scale)
