"""Find what experiments say of the runs in a figure, and how these differ from the paper's."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from resrepro.config.datasets import dataset_title
from resrepro.config.experiment import Experiment
from resrepro.config.run import Run
from resrepro.config.toml_files import shipped_runs
from resrepro.results.paths import results_option


def declaration(experiment: Experiment, name: str, results_dir: Path) -> tuple[str, list[Run]]:
    """Find the command that trains a run, and its seeds: the experiment's own, else those of a shipped experiment.

    Args:
        results_dir: where the command stores the run.
    """
    variation, where = experiment.variation, results_option(results_dir)
    own = [run for run in experiment.runs if run.name == name]
    if own:
        return f"resrepro run {experiment.as_typed}{where}", own
    pairs = shipped_runs(experiment.own_dataset)[name]
    num_seeds = Counter(source for source, _ in pairs)
    source = min(num_seeds, key=num_seeds.__getitem__)  # the least work
    runs = tuple(run for other, run in pairs if other == source)
    varied = experiment.model_copy(update={"runs": runs}).variant(variation)
    return f"resrepro run {source}{variation.options}{where}", list(varied.runs)


def note(experiment: Experiment) -> str:
    """Say how data and schedule differ from the paper's."""
    variation, notes = experiment.variation, []
    if variation.dataset is not None:
        notes.append(f"here on {dataset_title(experiment.dataset)}, not {dataset_title(experiment.own_dataset)}")
    if variation.image_size is not None:
        notes.append(f"crops of {variation.image_size} pixels")
    if variation.resize is not None:
        notes.append(f"images resized to {variation.resize} pixels")
    if variation.schedule_scale != 1:
        notes.append(f"schedule × {variation.schedule_scale:g}, not the paper's")
    return "; ".join(notes)
