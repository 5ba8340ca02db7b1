"""Print what came of the runs when `run` ends."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from resrepro import paper
from resrepro.cli.options import print_table, say
from resrepro.config.experiment import Claim, Experiment
from resrepro.config.run import Run
from resrepro.figures.files import draw_experiment
from resrepro.report.judge import decidable, judge
from resrepro.report.verdict import ELSEWHERE
from resrepro.results.paths import results_option
from resrepro.results.status import RunStatus, run_status
from resrepro.results.tables import Table


def print_outcome(experiment: Experiment, runs: Sequence[Run], results_dir: Path) -> list[str]:
    """Print the results beside the paper's, the verdicts, the figures, and what to type next.

    Args:
        experiment: with all its runs, on the data and with the schedule that were asked for.
        runs: those of it that were trained, also with seeds that it does not declare.

    Returns:
        What is wrong with the files of runs, one line each.
    """
    statuses = [run_status(results_dir, run) for run in runs]
    say("")
    print_table(_table(runs, statuses, compared=not experiment.is_varied))
    for run, status in zip(runs, statuses, strict=True):
        if status.record is not None and status.record.status == "diverged":
            say(f"diverged: {run}, at iteration {status.iteration}: its loss became NaN or infinite")
    judged = judge([(experiment, claim) for claim in decidable(experiment)], results_dir)
    of_others = [v for v in judged if v.status == "not run" and not _is_about(v.claim, runs)]
    for verdict in (verdict for verdict in judged if verdict not in of_others):
        word = ELSEWHERE[verdict.status] if experiment.is_varied else verdict.status
        detail = ", ".join(filter(None, (verdict.detail, verdict.test)))
        say(f"{word}: {verdict.claim.text} ({detail})")
    if of_others:
        say(f"not run: {len(of_others)} claim(s) about other runs of the experiment")
    if judged and experiment.is_varied:
        say(f"with{experiment.variation.options}, these verdicts are not about the paper's runs")
    problems = [status.problem for status in statuses if status.problem]
    drawn = draw_experiment(experiment, results_dir, formats=("png",))
    for problem in dict.fromkeys(problem for problem in drawn.problems if problem not in problems):
        say(f"left out of a figure: {problem}")
    for file in drawn.files:
        say(f"{'table' if file.suffix in ('.md', '.csv') else 'figure'}: {file}")
    if all(status.record for status in statuses):
        say(f"next:   resrepro {_next(experiment, results_option(results_dir))}")
    else:
        say("next:   fix the errors below, then give the same command again")
    return problems


def _table(runs: Sequence[Run], statuses: list[RunStatus], *, compared: bool) -> Table:
    """Return a row for each run; with the paper's error where the runs are `compared` with the paper."""
    rows = []
    for run, status in zip(runs, statuses, strict=True):
        record = status.record
        published = paper.TEST_ERROR_PCT.get((run.dataset, run.name)) if compared else None
        cells = [status.state if record else str(status), "", "", "", ""]
        if record is not None and record.status == "finished":
            cells = [
                f"{record.final_train_error_pct:.2f}",
                f"{record.test_error_pct:.2f}",
                "" if published is None else f"{published:.2f}",
                f"{record.best_test_error_pct:.2f}",
                f"{record.wall_time_s / 60:.1f} min",
            ]
        rows.append((f"{run.stored_name}/seed{run.seed}", *cells))
    columns = list(zip(("run", "train (%)", "test (%)", "paper (%)", "best test (%)", "time"), *rows, strict=True))
    names, *filled = zip(*(column for column in columns if any(column[1:])), strict=True)
    return Table(columns=names, rows=tuple(filled))


def _is_about(claim: Claim, runs: Sequence[Run]) -> bool:
    return claim.ensemble or claim.is_counted or not {run.name for run in runs}.isdisjoint(claim.runs)


def _next(experiment: Experiment, where: str) -> str:
    """Return the command to type next, without the program's name.

    Args:
        where: the option that names the results folder, if it is not the usual one.
    """
    name, variation = shlex.quote(experiment.address), experiment.variation
    if name == "quickstart":
        return f"run plain20-vs-plain56 --schedule-scale 0.02{where}   (the paper's nets, shortened; needs CIFAR-10)"
    if variation.schedule_scale != 1:
        whole = variation.model_copy(update={"schedule_scale": 1.0})
        return f"run {name}{whole.options}{where}   (the paper's whole schedule)"
    if experiment.is_varied:
        return f"run {name}{where}"
    return f"plot {name} --format pdf{where}" if experiment.figures else f"show {name}{where}"
