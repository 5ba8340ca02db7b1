"""What `run` prints when the runs have ended."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from resrepro import paper, results
from resrepro.config.experiment import Experiment
from resrepro.figures.files import draw_experiment
from resrepro.report.verdicts import ELSEWHERE, decidable, judge


def print_outcome(console: Console, original: Experiment, experiment: Experiment, results_dir: Path) -> None:
    """After the runs: results beside the paper's, verdicts, figures, and what to type next."""
    variation = experiment.variation
    table = Table("run", "train (%)", "test (%)", "paper (%)", "best test (%)", "time", box=None, header_style="bold")
    for run in experiment.runs:
        record = results.read_finished(results_dir, run)
        published = paper.TEST_ERROR_PCT.get((run.dataset, run.name)) if not experiment.is_varied else None
        cells = ["not finished", "", "", "", ""]
        if record is not None and record.status == "diverged":
            cells = [f"diverged at {record.diverged_iter}", "", "", "", ""]
        elif record is not None:
            cells = [
                f"{record.final_train_error_pct:.2f}",
                f"{record.final_test_error_pct:.2f}",
                "" if published is None else f"{published:.2f}",
                f"{record.best_test_error_pct:.2f}",
                f"{record.wall_time_s / 60:.1f} min",
            ]
        table.add_row(f"{run.stored_name}/seed{run.seed}", *cells)
    console.print()
    console.print(table)
    whole = original.variant(**variation.model_dump())
    judged = [judge(whole, claim, results_dir) for claim in decidable(whole)]
    for verdict in judged:
        word = ELSEWHERE[verdict.status] if experiment.is_varied else verdict.status
        detail = ", ".join(filter(None, (verdict.detail, verdict.test)))
        console.print(f"{word}: {verdict.claim.text} ({detail})", soft_wrap=True)
    if judged and experiment.is_varied:
        console.print(f"with{variation.options} this is no verdict on the paper's runs", soft_wrap=True)
    problems: list[str] = []
    files = draw_experiment(whole, results_dir, formats=("png",), report=problems.append)
    for problem in dict.fromkeys(problems):
        console.print(f"left out of a figure: {problem}", soft_wrap=True)
    for file in files:
        console.print(f"{'table' if file.suffix in ('.md', '.csv') else 'figure'}: {file}", soft_wrap=True)
    if all(results.read_finished(results_dir, run) for run in experiment.runs):
        console.print(f"next:   resrepro {_next(experiment)}", soft_wrap=True)
    else:
        console.print("next:   mend what the errors below say, then the same command again")


def _next(experiment: Experiment) -> str:
    name, variation = experiment.address, experiment.variation
    if name == "quickstart":
        return "run plain20-vs-plain56 --schedule-scale 0.05   (the real thing, shortened; needs CIFAR-10)"
    if variation.schedule_scale != 1:
        whole = variation.model_copy(update={"schedule_scale": 1.0})
        return f"run {name}{whole.options}   (the paper's whole schedule)"
    return f"run {name}" if experiment.is_varied else f"plot {name} --format pdf"
