"""`resrepro list` and `resrepro show`: experiments, and how far they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Annotated, Any

import typer

from resrepro.cli.options import (
    DEFAULT_RESULTS,
    DatasetName,
    ImageSize,
    Json,
    ReadDir,
    Resize,
    Scale,
    console,
    print_json,
    print_table,
    say,
)
from resrepro.config.experiment import Experiment
from resrepro.config.recipe import SWITCHES, Recipe
from resrepro.config.run import Run, Variation
from resrepro.config.toml_files import experiment_names, find_experiment
from resrepro.errors import UserError
from resrepro.results.paths import folder_with_runs, results_option
from resrepro.results.status import RunStatus, run_status
from resrepro.results.tables import Table

PLACES = (  # in the paper's order; the start of what an experiment reproduces
    "the idea", "Fig. 1", "Sec. 1", "Fig. 4", "Sec. 3", "Table 2", "Sec. 4.1", "Table 3", "Tables 3", "Table 4",
    "Table 5", "Fig. 6 left", "Fig. 6,", "Fig. 6 right", "Fig. 6", "Sec. 4.2", "Fig. 7",
)  # fmt: skip
COLUMNS = ("experiment", "reproduces", "data", "finished", "cost")
GROUPS = ("the paper", "the paper's footnotes and open choices", "beyond the paper, and not part of 'all'")
OPEN = ("footnote", "open choice", "left out")
COST = re.compile(r"[\d.]+ (?:s|min|h|days?)\b")  # the time at the start of `cost`, on two CPU cores


def _group(experiment: Experiment) -> int:
    """Return to which of GROUPS an experiment belongs."""
    return 2 if experiment.beyond_paper else int(any(word in experiment.reproduces for word in OPEN))


def _place(experiment: Experiment) -> tuple[int, int, str]:
    starts = (number for number, place in enumerate(PLACES) if experiment.reproduces.startswith(place))
    return _group(experiment), next(starts, len(PLACES)), experiment.name


def list_experiments(
    schedule_scale: Scale = 1.0, results_dir: ReadDir = DEFAULT_RESULTS, as_json: Json = False
) -> None:
    """List all experiments and their progress."""
    variation = Variation(schedule_scale=schedule_scale)
    shipped = sorted(map(find_experiment, experiment_names()), key=_place)
    experiments = _varied(shipped, variation)
    statuses = {e.name: [run_status(results_dir, run) for run in e.runs] for e in experiments}
    if as_json:
        print_json([_summary(experiment, statuses[experiment.name]) for experiment in experiments])
        return
    rows = [_cells(experiment, statuses[experiment.name]) for experiment in experiments]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    widths[1] = max(len(COLUMNS[1]), min(widths[1], console.width - sum(widths) + widths[1] - len(widths)))
    console.print(_line(COLUMNS, widths), style="bold", no_wrap=True, overflow="crop")
    for number, group in groupby(zip(experiments, rows, strict=True), lambda pair: _group(pair[0])):
        console.print(f"{GROUPS[number]}:", style="italic")
        for _, row in group:
            console.print(_line(row, widths), no_wrap=True, overflow="crop")
    _print_problems([status for its in statuses.values() for status in its])
    stored = [e.name for e in experiments if folder_with_runs(results_dir, e.name, e.runs) != results_dir]
    if stored:
        say(f"\n{', '.join(stored)}: you have no runs of these yet; figures show those in {results_dir}/NAME")
    options = variation.options
    if len(experiments) < len(shipped):
        too_short = sorted({e.name for e in shipped} - {e.name for e in experiments})
        say(f"\ntoo short for{options}: {', '.join(too_short)}")
    of_all = " with the whole schedule" if options else ""
    say("\ncost: on two CPU cores with AVX512-BF16 (others take up to five times as long),")
    say(f"if none of its runs is finished{of_all}; ?: not measured")
    say(f"resrepro show NAME{options} tells more; resrepro run NAME{options} trains the missing runs.")


def _varied(experiments: Iterable[Experiment], variation: Variation) -> list[Experiment]:
    """Return the experiments so varied, without those whose schedule is too short for it.

    Raises:
        UserError: all are too short.
    """
    found, errors = [], []
    for experiment in experiments:
        try:
            found.append(experiment.variant(variation))
        except UserError as error:
            errors.append(error)
    if not found:
        raise errors[-1]
    return found


def _cells(experiment: Experiment, statuses: list[RunStatus]) -> tuple[str, ...]:
    finished = f"{sum(status.record is not None for status in statuses)}/{len(statuses)}"
    finished += ", damaged" if any(status.state == "damaged" for status in statuses) else ""
    cost = COST.match(experiment.cost)
    return experiment.name, experiment.reproduces, experiment.dataset, finished, cost[0] if cost else "?"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return the cells in columns of these widths; what is longer is cut, and ends in `…`."""
    cut = (cell if len(cell) <= width else f"{cell[: width - 1]}…" for cell, width in zip(cells, widths, strict=True))
    return " ".join(f"{cell:{width}}" for cell, width in zip(cut, widths, strict=True)).rstrip()


def _summary(experiment: Experiment, statuses: list[RunStatus]) -> dict[str, Any]:
    """Return what `--json` says of an experiment."""
    return {
        "name": experiment.name,
        "title": experiment.title,
        "reproduces": experiment.reproduces,
        "beyond_paper": experiment.beyond_paper,
        "dataset": experiment.dataset,
        "cost": experiment.cost,
        "num_runs": len(statuses),
        "num_finished": sum(status.record is not None for status in statuses),
        "problems": [status.problem for status in statuses if status.problem],
    }


def show(
    name: Annotated[str, typer.Argument(metavar="NAME|PATH.toml", show_default=False, help="Name an experiment.")],
    results_dir: ReadDir = DEFAULT_RESULTS,
    dataset: DatasetName = None,
    schedule_scale: Scale = 1.0,
    image_size: ImageSize = None,
    resize: Resize = None,
    as_json: Json = False,
) -> None:
    """Show an experiment: recipe, runs, and what to expect."""
    variation = Variation(dataset=dataset, schedule_scale=schedule_scale, image_size=image_size, resize=resize)
    experiment = find_experiment(name).variant(variation)
    statuses = [run_status(results_dir, run) for run in experiment.runs]
    if as_json:
        runs = [_run_json(run, status) for run, status in zip(experiment.runs, statuses, strict=True)]
        print_json({**_summary(experiment, statuses), "expect": experiment.expect, "runs": runs})
        return
    options = experiment.variation.options
    place = f"  ({experiment.reproduces})" if experiment.reproduces else ""
    console.print(experiment.title + place, style="bold")
    about = {"data": experiment.dataset, "cost": experiment.cost, "expect": experiment.expect}
    about["with"] = f"{options.strip()}; cost and expect are for the experiment without it" if options else ""
    recipe = experiment.runs[0].recipe
    about["recipe"] = (
        f"{recipe.total_iters} iterations of {recipe.batch_size}, lr {recipe.lr:g} divided by 10 at "
        f"{', '.join(map(str, recipe.lr_drop_iters)) or 'no iteration'}, momentum {recipe.momentum:g}, "
        f"weight decay {recipe.weight_decay:g}"
    )
    switches = _values(recipe, {key for key, default in SWITCHES.items() if getattr(recipe, key) != default})
    about[""] = switches and f"{switches} (what they are: docs/experiments.md)"
    say("\n".join(f"{word:8}{text}" for word, text in about.items() if text))
    rows = []
    for run, status in zip(experiment.runs, statuses, strict=True):
        differences = _values(run.recipe, {key for key, value in run.recipe if value != getattr(recipe, key)})
        error = status.record.test_error_pct if status.record else None
        rows.append((run.name, str(run.seed), differences, str(status), "" if error is None else f"{error:.2f}"))
    columns = ("run", "seed", "recipe differs in", "state", "test error (%)")
    print_table(Table(columns=columns, rows=tuple(rows)))
    _print_problems(statuses)
    _print_distances(experiment, statuses)
    typed = experiment.as_typed + results_option(results_dir)
    say(f"\nresrepro run {typed}\nresrepro plot {typed}")


def _values(recipe: Recipe, keys: set[str]) -> str:
    """Return `decay = all, no warmup`: the values of these keys."""
    values = {key: value for key, value in recipe if key in keys}
    return ", ".join(f"no {key}" if value is None else f"{key} = {_word(value)}" for key, value in values.items())


def _word(value: object) -> str:
    return " and ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _run_json(run: Run, status: RunStatus) -> dict[str, Any]:
    """Return what `--json` says of a run."""
    record = status.record
    return {
        "run": str(run),
        "arch": run.arch,
        "seed": run.seed,
        "state": status.state,
        "iteration": status.iteration,
        "total_iters": run.recipe.total_iters,
        "final_train_error_pct": record.final_train_error_pct if record else None,
        "test_error_pct": record.test_error_pct if record else None,
        "final_test_error_pct": record.final_test_error_pct if record else None,
        "recipe": run.recipe.model_dump(mode="json"),
    }


def _print_distances(experiment: Experiment, statuses: list[RunStatus]) -> None:
    """Print how far the runs' curves are from the paper's, where it has a curve of the net; one row per curve."""
    from resrepro.results.distance import WINDOWS, Distance, distances, not_whole, published

    rows, shown = [], list[Distance]()
    for run in {run.name: run for run in experiment.runs}.values():
        its = [s for r, s in zip(experiment.runs, statuses, strict=True) if r.name == run.name and s.points]
        counted = [s for s in its if s.state == "finished"] or [s for s in its if s.state != "diverged"]
        for which, found in distances(run.name, published(run), [s.points for s in counted]).items():
            means = (window.difference_pct for window in found.difference.windows)
            rows.append((run.name, which, *("" if mean is None else f"{mean:+.2f}" for mean in means)))
            shown.append(found)
    if rows:
        console.print()
        title = "ours minus the paper's (points)"
        parts = not_whole(shown)
        notes = [f"means over a part of a window: {parts}"] if parts else []
        notes.append("plateau: before the first drop of the rate; drop: after it. More: resrepro table fig6")
        print_table(Table(title=title, columns=("run", "error", *WINDOWS), rows=tuple(rows), notes=tuple(notes)))


def _print_problems(statuses: list[RunStatus]) -> None:
    for problem in dict.fromkeys(status.problem for status in statuses if status.problem):
        say(f"damaged: {problem}")
