"""The functions for Python: nets, curves, records and figures; all are available as `resrepro.NAME`."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from resrepro import results
from resrepro.config.architectures import architecture
from resrepro.config.datasets import DATA_DIR_VARIABLE, DEFAULT_DATA
from resrepro.config.run import Variation
from resrepro.config.selection import select_runs
from resrepro.config.strict import parse
from resrepro.config.toml_files import find_experiment, shipped_figures
from resrepro.errors import UserError, did_you_mean
from resrepro.results.paths import DEFAULT_RESULTS, folder_with_runs, stored_runs
from resrepro.results.status import named_run

if TYPE_CHECKING:  # each takes a moment, so only what a function needs is imported
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import nn

    from resrepro.evaluation.classifier import Classifier

Folder = str | Path


def load_net(run: Folder, *, results_dir: Folder = DEFAULT_RESULTS, data_dir: Folder | None = None) -> Classifier:
    """Load a finished run's net on the CPU, in inference mode, with its preprocessing.

    It maps images to logits: (N, 3, H, W), uint8 from 0 to 255 or floating-point from 0 to 1 -> (N, num_classes).
    `.net` is the net without preprocessing: its input is pixels from 0 to 255 minus `.pixel_mean` (Sec. 4.2).
    `.class_names` has the names of the classes, and `.record` the record of the run.

    Args:
        run: such as `cifar10/resnet20/seed0`, or its folder.
        data_dir: the folder of datasets; None: $RESREPRO_DATA, or else `data`. CIFAR-10's mean is built in.

    Raises:
        UserError: no such run, not finished, no weights stored, damaged, or no dataset to take the mean from.
    """
    from resrepro.evaluation.classifier import load_classifier

    return load_classifier(named_run(str(run), Path(results_dir), "load_net").folder, _data_dir(data_dir))


def build_net(arch: str, *, num_classes: int | None = None, seed: int | None = None) -> nn.Module:
    """Build a net with He's initialization, in training mode: (N, 3, H, W) float32 -> logits (N, num_classes).

    Args:
        arch: such as `plain56`, `resnet20` or `resnet50`; `resrepro summary` lists all.
        num_classes: None: 1000 for nets for ImageNet, 10 for all others.
        seed: of the initial weights; None: torch's global random state decides.

    Raises:
        UserError: unknown architecture, or no class.
    """
    from resrepro.models import build

    num_classes = architecture(arch).num_classes if num_classes is None else num_classes
    if num_classes < 1:
        raise UserError(f"num_classes {num_classes}: expected 1 or more")
    return build(arch, num_classes=num_classes, seed=seed)


def curves(what: Folder, *, results_dir: Folder = DEFAULT_RESULTS) -> pd.DataFrame:
    """Return curves of error against iteration; the paper's curves have their own rows.

    The columns are `source` (`ours` or `paper`), `dataset`, `run`, `label`, `seed` and `status` (both missing in the
    paper's rows), `kind` (`train` or `test`), `iteration`, `error_pct` (%), and `loss` (missing in the paper's rows and
    for tests with averaged BN statistics). Training errors are those of augmented mini-batches. Test errors are those
    of the single view, with averaged BN statistics if the recipe has them. The paper's curve of a run is included if
    data and schedule are the paper's; a run that is not trained yet has only this curve.

    Args:
        what: a figure such as `fig6`, an experiment such as `cifar-resnet` or the path of its TOML file, or a run such
            as `resnet56`, `cifar10/resnet56` or `cifar10/resnet56/seed0`; looked up in this order.

    Raises:
        UserError: no such figure, experiment or run; or a file is damaged, or that of another run.
    """
    from resrepro.report import frames

    return frames.curves(str(what), Path(results_dir))


def records(*, results_dir: Folder = DEFAULT_RESULTS) -> pd.DataFrame:
    """Return a row with the record of each finished run, in the order of their names.

    The columns are `run` (the name for `load_net`), the keys of `run.json` (docs/results-format.md), the keys of its
    recipe, such as `recipe.lr`, `paper_error_pct` (the paper's test error of this net, %), and `has_weights`.

    Raises:
        UserError: no such folder, or a record is damaged.
    """
    from resrepro.report import frames

    return frames.records(Path(results_dir), stored_runs(Path(results_dir)))


def figure(
    name: str,
    *,
    experiment: Folder | None = None,
    results_dir: Folder = DEFAULT_RESULTS,
    style: str = "paper",
    width_inches: float | None = None,
    font_pt: float | None = None,
    with_paper: bool = True,
) -> Figure:
    """Draw a figure from the stored runs, as `resrepro plot` does; you can restyle its panels, `figure.axes`.

    Args:
        name: such as `fig6`; the `name` of a `[[figure]]` in an experiment.
        experiment: the path of its TOML file, such as `mine.toml`; None: it is an experiment of this package.
        style: paper, slide or poster.
        width_inches: the width of the whole figure; None: as its panels need.
        font_pt: the size of letters; None: that of the style.
        with_paper: whether the paper's own curves are drawn behind ours.

    Raises:
        UserError: no such figure, file or style, none of its runs is stored, or a file is damaged.
    """
    from resrepro.figures.data import read_figure
    from resrepro.figures.files import draw
    from resrepro.figures.kinds import FIGURES
    from resrepro.figures.look import Look

    figures = shipped_figures()
    if experiment is not None:
        own = find_experiment(str(experiment))
        figures = {spec.name: (own, spec) for spec in own.figures}
    if name not in figures:
        raise UserError(f"{experiment or 'figure'}: there is no figure '{name}'{did_you_mean(name, figures)}")
    found, spec = figures[name]
    kind = FIGURES[spec.kind]
    look = Look(style=style, width_inches=width_inches, font_pt=font_pt, with_paper=with_paper)
    source = folder_with_runs(Path(results_dir), found.name, found.runs)
    shown = read_figure(found, spec, kind, source, look)
    for problem in (*shown.data.problems, shown.why_blank(kind)):
        if problem:
            raise UserError(f"{name}: {problem}")
    return draw(kind, shown)


def run(
    *names: str,
    only: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    dataset: str | None = None,
    schedule_scale: float = 1.0,
    device: str = "auto",
    precision: str = "auto",
    results_dir: Folder = DEFAULT_RESULTS,
    data_dir: Folder | None = None,
) -> pd.DataFrame:
    """Train the unfinished runs of experiments, as `resrepro run` does, without any output.

    `resrepro watch` shows the runs in a terminal. The same call resumes a stopped run.

    Args:
        names: experiments, such as `quickstart`, or paths of TOML files; `all`: those of the paper whose dataset is
            there or can be downloaded.
        only: the names of the runs to train; None: all.
        seeds: the seeds of each run; None: those of the experiment.
        dataset: another dataset, such as `cifar100`; None: that of the experiment.
        schedule_scale: shortens the schedule to this fraction, such as 0.05; the runs get their own names.

    Returns:
        The records of the runs, as from `records`.

    Raises:
        UserError: unknown experiment or run; a run failed, or another process trains it (raised after the other runs
            have been trained); or this is not the main thread, which alone receives signals.
        KeyboardInterrupt: on Ctrl-C, or a signal that ends the process, after a checkpoint of each run.
    """
    from resrepro.data.loading import at_hand
    from resrepro.report import frames
    from resrepro.runtime.device import choose
    from resrepro.training.reporter import Silent
    from resrepro.training.runner import Runner, Stopped

    if threading.current_thread() is not threading.main_thread():
        raise UserError("run: called in a thread; call it in the main thread, which receives Ctrl-C")

    if not names:
        raise UserError("run: name an experiment, such as 'quickstart'; resrepro list shows all")
    root, data_root = Path(results_dir), _data_dir(data_dir)
    variation = parse(Variation, {"dataset": dataset, "schedule_scale": schedule_scale}, "run")
    only = [only] if isinstance(only, str) else only
    runs = select_runs(names, variation, seeds=seeds, only=only, at_hand=partial(at_hand, data_dir=data_root)).runs
    runner = Runner(results_dir=root, data_dir=data_root, compute=choose(device, precision), reporter=Silent())
    try:
        errors = runner.run_all(runs, None)
    except Stopped as stopped:
        raise KeyboardInterrupt(str(stopped)) from None
    if errors:
        raise UserError("; ".join(errors))
    return frames.records(root, [results.run_files(root, run) for run in runs])


def _data_dir(data_dir: Folder | None) -> Path:
    return Path(data_dir or os.environ.get(DATA_DIR_VARIABLE) or DEFAULT_DATA)
