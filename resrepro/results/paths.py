"""Name the files of runs under the results directory, and the places of figures, tables, ensembles and speeds.

A run has the folder <results>/<dataset>/<run name>/seed<k>/. Beside it are
<results>/<dataset>/ensembles.json  several runs together under the test protocols, as `evaluate` found
<results>/figures/  drawn from the above
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resrepro.config.datasets import dataset_folder
from resrepro.config.run import Run

DEFAULT_RESULTS = Path("results")


def results_option(results_dir: Path) -> str:
    """Return the option that names the folder of runs, as a command line has it; empty if it is the usual one."""
    return "" if results_dir == DEFAULT_RESULTS else f" --results-dir {shlex.quote(str(results_dir))}"


class _PathOf:
    """Gives the path of what has this name in a run's folder."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, files: RunFiles, _: type[RunFiles]) -> Path:
        return files.folder / self._name


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """Names the files of one run."""

    folder: Path
    asked = _PathOf("asked.json")  # what is trained; there until run.json, which says it too, is written
    curves = _PathOf("curves.csv")  # one row per curve point, appended while the run goes on
    gradients = _PathOf("gradients.csv")  # norms of gradients and weights at a few moments, rewritten at each
    # of a net made deeper by identity layers: how it compares with the shallower one, before training
    identity = _PathOf("identity.csv")
    responses = _PathOf("responses.csv")  # standard deviation of each 3x3 layer's response, written at the end
    predictions = _PathOf("predictions.csv")  # the class predicted for each test image, written at the end
    weights = _PathOf("weights.safetensors")  # of a finished run
    checkpoint = _PathOf("checkpoint.pt")  # the latest state; holds the curve points too; not committed
    # the one before it, in case that it is damaged; there until the run is finished
    previous_checkpoint = _PathOf("checkpoint-previous.pt")
    tensorboard = _PathOf("tensorboard")  # a folder: the rows of curves.csv as events, by `run --log`; not committed
    record = _PathOf("run.json")  # written last: its presence means finished
    lesions = _PathOf("lesions.csv")  # the finished net without some blocks, as `lesions` found
    paths = _PathOf("paths.csv")  # its gradient by path length, likewise
    surface = _PathOf("surface.csv")  # the loss around the finished net, as `surface` found
    evaluations = _PathOf("evaluations.json")  # the finished run under the test protocols, as `evaluate` found
    lock = _PathOf(".lock")
    holder = _PathOf(".holder")  # names the process that trains the run

    @property
    def name(self) -> str:
        """Return `<dataset>/<run>/seed<k>`, wherever the folder lies."""
        return "/".join(self.folder.resolve().parts[-3:])

    @property
    def csvs(self) -> tuple[Path, ...]:
        """The CSVs of a finished run, there or not."""
        own = self.curves, self.gradients, self.responses, self.identity, self.predictions
        return (*own, self.lesions, self.paths, self.surface)

    @property
    def has_checkpoint(self) -> bool:
        """Tell whether there is a checkpoint; a process that is killed between two renames leaves the previous one."""
        return self.checkpoint.exists() or self.previous_checkpoint.exists()


def run_files(results_dir: Path, run: Run) -> RunFiles:
    """Return the files of a run, whether they exist or not."""
    return RunFiles(folder=results_dir / run.path)


def folder_with_runs(results_dir: Path, experiment: str, runs: Sequence[Run]) -> Path:
    """Return where runs of an experiment are stored: in `results_dir`, or else in a folder of its name below.

    So are the runs that come with the program, such as those of `quickstart`.
    """
    datasets = {run.dataset for run in runs}
    for place in (results_dir, results_dir / experiment):
        there = {dataset for dataset in datasets if (place / dataset_folder(dataset)).is_dir()}
        if any(run.dataset in there and run_files(place, run).folder.is_dir() for run in runs):
            return place
    return results_dir


def stored_runs(results_dir: Path) -> list[RunFiles]:
    """Find every folder that has files of a run, begun or finished, also where it is not named as ours are."""
    places = [f"{'*/' * depth}{name}" for depth in (1, 2, 3) for name in ("curves.csv", "run.json")]
    return [
        RunFiles(folder=folder) for folder in sorted({p.parent for place in places for p in results_dir.glob(place)})
    ]


def figures_folder(results_dir: Path) -> Path:
    """Return the folder of figures and tables."""
    return results_dir / "figures"


def figure_file(results_dir: Path, name: str, suffix: str) -> Path:
    """Return the path of a figure, or of a table."""
    return figures_folder(results_dir) / f"{name}.{suffix}"


def ensembles_file(results_dir: Path, dataset: str) -> Path:
    """Return the path of the errors of several nets together, for one dataset."""
    return results_dir / dataset_folder(dataset) / "ensembles.json"


def bench_file(results_dir: Path, device: str, precision: str, what: str = "") -> Path:
    """Return the path of measured speeds, such as `bench/nvidia-h200-bf16.json` for `NVIDIA H200` in bf16.

    Args:
        what: a folder below `bench`.
    """
    words = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    return results_dir / "bench" / what / f"{words}-{precision}.json"


def bench_files(results_dir: Path) -> list[Path]:
    """Find the measured speeds of all machines."""
    return sorted((results_dir / "bench").glob("*.json"))
