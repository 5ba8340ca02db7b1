"""Select the runs that a command or a call asks for. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from resrepro.config.experiment import Experiment
from resrepro.config.run import Run, Variation
from resrepro.config.toml_files import find_experiments
from resrepro.errors import UserError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Hold experiments with the runs of each that are asked for, and the experiments whose dataset is not at hand."""

    experiments: tuple[tuple[Experiment, tuple[Run, ...]], ...]
    left_out: tuple[Experiment, ...] = ()

    @property
    def runs(self) -> list[Run]:
        """Return the runs of all experiments, each once."""
        return list({run.path: run for _, runs in self.experiments for run in runs}.values())


def select_runs(
    names: Sequence[str],
    variation: Variation,
    *,
    seeds: Sequence[int] | None,
    only: Sequence[str] | None,
    at_hand: Callable[[str], bool],
) -> Selection:
    """Select runs of experiments.

    Args:
        names: experiments, paths of TOML files, or `all`: the paper's, but those whose dataset is not at hand.
        variation: what is changed of all of them.
        seeds: of each run, in place of the experiment's own; None: those.
        only: names of runs; None: all.
        at_hand: says whether a dataset is there or can be downloaded.

    Raises:
        UserError: an experiment or a run is unknown, a seed is none, what is changed cannot be, or two experiments
            store different runs in the same folder.
    """
    experiments = find_experiments(names)
    known = list(dict.fromkeys(name for experiment in experiments for name in experiment.run_names()))
    for name in only or ():
        if name not in known:
            raise UserError(f"--only: there is no run '{name}'{did_you_mean(name, known)}")
    varied = [found.variant(variation) for found in experiments if found.select(only=only).runs]
    left_out = [found for found in varied if not at_hand(found.dataset)] if {*names} == {"all"} else []
    chosen = [(found, found.select(seeds=seeds, only=only).runs) for found in varied if found not in left_out]
    _check_unique(chosen)
    return Selection(experiments=tuple(chosen), left_out=tuple(left_out))


def _check_unique(chosen: Sequence[tuple[Experiment, Sequence[Run]]]) -> None:
    """Check that what is stored in the same folder is the same run, but for its label in figures."""
    declared: dict[Path, tuple[str, Run]] = {}
    for experiment, runs in chosen:
        for run in (found for each in runs for found in (each.start_from, each) if found):
            by, other = declared.setdefault(run.path, (experiment.address, run))
            if run.replace(label="") != other.replace(label=""):
                raise UserError(
                    f"{run}: {by} and {experiment.address} declare different runs of this name; give one of them "
                    "another 'name'"
                )
