"""Show claims as a table: the paper's value, ours, their difference, n, what decides, and the verdict."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from resrepro import paper
from resrepro.config.architectures import ARCHITECTURES, VGG_LABELS
from resrepro.config.experiment import Claim, Experiment
from resrepro.report.judge import decidable, judge
from resrepro.report.measures import MEASURES
from resrepro.report.verdict import Status, Verdict
from resrepro.results.paths import results_option
from resrepro.results.tables import Table, mean_std

COLUMNS = ("claim", "verdict", "paper", "ours", "difference", "n", "decided by")
NOTES = (
    "ours: mean ± standard deviation over seeds; difference: for an order of two, the first minus the second; for a "
    "longer order, the smallest step (in parentheses the paper's); for a value, ours minus the paper's; n: finished "
    "seeds that the experiment declares; p: corrected for the number of claims",
)
NOT_COUNTED = "not counted: seeds that the experiment does not declare"
OURS = "(ours, not the paper's)"  # what stands behind the text of a claim of our own
BRIEF_ROWS = 20  # with these it is two printed pages
DOUBTFUL = ("contradicted", "inconsistent (one run)", "inconclusive")
NETS = VGG_LABELS | {name: net.label for name, net in ARCHITECTURES.items()}  # multiply-adds are of any of them
Judged = list[tuple[Experiment, Verdict]]


def verdicts(experiments: list[Experiment], results_dir: Path) -> Judged:
    """Judge the claims that can be decided, each once, though several experiments may make it.

    Of these experiments it is the one that declares the most seeds, or the first of those.
    """
    found: dict[tuple[str, Claim], tuple[Experiment, Claim]] = {}
    for experiment in experiments:
        for claim in decidable(experiment):
            same = (experiment.dataset, claim.model_copy(update={"text": "", "source": "", "paper": ""}))
            if same not in found or _num_seeds(experiment, claim) > _num_seeds(*found[same]):
                found[same] = (experiment, claim)
    asked = list(found.values())
    judged = judge(asked, results_dir)
    return [(experiment, verdict) for (experiment, _), verdict in zip(asked, judged, strict=True)]


def _num_seeds(experiment: Experiment, claim: Claim) -> int:
    return sum(run.name in claim.runs for run in experiment.runs)


def table(title: str, judged: Judged, words: dict[Status, str], results_dir: Path) -> Table:
    """Return one row per claim, those with runs first; without the paper's values if data or schedule are not its.

    Args:
        words: what a status is called here.
        results_dir: where the commands store runs.
    """
    with_runs_first = sorted(judged, key=lambda one: one[1].status == "not run")
    where = results_option(results_dir)
    rows = [_row(experiment, verdict, words[verdict.status], where) for experiment, verdict in with_runs_first]
    varied = any(experiment.is_varied for experiment, _ in judged)
    shown = [column for column in COLUMNS if column != "paper" or not varied]
    cells = tuple(tuple(row.get(column, "") for column in shown) for row in rows)
    return Table(title=title, columns=tuple(shown), rows=cells, notes=NOTES)


def brief_table(judged: Judged, words: dict[Status, str]) -> Table:
    """Return one row per claim with its verdict and the values alone; of many, first those that do not hold."""
    if len(judged) > BRIEF_ROWS:
        judged = sorted(judged, key=lambda one: one[1].status not in DOUBTFUL)
    rows = [_row(experiment, verdict, words[verdict.status]) for experiment, verdict in judged[:BRIEF_ROWS]]
    more = Counter(words[verdict.status] for _, verdict in judged[BRIEF_ROWS:])
    counts = ", ".join(f"{number} {word}" for word, number in more.items())
    notes = [NOT_COUNTED] if any(verdict.further for _, verdict in judged[:BRIEF_ROWS]) else []
    notes += [f"more claims, shown by `resrepro report`: {counts}"] if more else []
    shown = ("claim", "verdict", "paper", "ours")
    cells = tuple(tuple(row.get(column, "").partition("\nmeasured: ")[0] for column in shown) for row in rows)
    return Table(title="Claims of the paper with runs", columns=shown, rows=cells, notes=tuple(notes))


def _row(experiment: Experiment, verdict: Verdict, word: str, where: str = "") -> dict[str, str]:
    """Return the cells by column; a cell may have several lines."""
    claim = verdict.claim
    published = _published(experiment, verdict)
    labels = NETS | {run.name: run.label for run in experiment.runs}
    theirs = _labeled(labels, {name: f"{value:.2f}" for name, value in published.items()}) or claim.paper
    row = {
        "claim": f"{_text(claim)}\nmeasured: {_measured(verdict)}",
        "verdict": word,
        "paper": theirs or ("curves only" if claim.source.startswith("Fig.") else ""),
    }
    if verdict.status == "not run":
        command = "" if "`" in verdict.detail else f"; `resrepro run {experiment.as_typed}{where}`"
        return row | {"decided by": f"{verdict.detail}{command}"}
    counts = ["–" if claim.is_counted else str(len(values)) for values in verdict.values.values()]
    return row | {
        "ours": _labeled(labels, {name: _values(verdict, name) for name in verdict.values}),
        "difference": _difference(verdict, [] if experiment.is_varied else list(published.values())),
        "n": counts[0] if len(set(counts)) == 1 else ", ".join(counts),
        "decided by": verdict.test.replace("; ", "\n"),
    }


def _text(claim: Claim) -> str:
    return " ".join(filter(None, (claim.text, claim.source and f"({claim.source})", OURS if claim.ours else "")))


def _measured(verdict: Verdict) -> str:
    claim = verdict.claim
    measure = MEASURES[claim.column]
    how = "" if claim.protocol == "single view" else f", {claim.protocol}"
    how += {
        None: "",
        "plateau": ", mean before the first drop of the learning rate",
        "end": ", mean over the last iterations",
    }[claim.window]
    return f"{measure.words}{how}{measure.unit and f' ({measure.unit.strip()})'}"


def _published(experiment: Experiment, verdict: Verdict) -> dict[str, float]:
    """Return the paper's number for each run of a claim, or none at all."""
    claim = verdict.claim
    if claim.column not in ("test_error_pct", "top5_error_pct") or claim.window:
        return {}
    found = {n: paper.published_error_pct(experiment.dataset, n, claim.protocol, claim.top) for n in claim.runs}
    known = {name: value for name, value in found.items() if value is not None}
    return known if len(known) == len(found) else {}


def _labeled(labels: dict[str, str], values: dict[str, str]) -> str:
    """Return one line per run, or the one value."""
    if len(values) == 1:
        return next(iter(values.values()))
    return "\n".join(f"{labels[name]}: {value}" for name, value in values.items())


def _values(verdict: Verdict, name: str) -> str:
    """Return a run's mean, and what its further seeds measured."""
    further = verdict.further.get(name)
    return _value(verdict.values[name]) + (f" (not counted: {_value(further)})" if further else "")


def _value(values: tuple[float, ...]) -> str:
    return mean_std(values, digits=3 if 0 < abs(fmean(values)) < 1 else 2)


def _difference(verdict: Verdict, published: list[float]) -> str:
    means = [fmean(values) for values in verdict.values.values()]
    if not verdict.claim.is_order:
        return f"{means[0] - published[0]:+.2f}" if published else ""
    theirs = min((high - low for high, low in pairwise(published)), default=None)
    return f"{min(high - low for high, low in pairwise(means)):+.2f}" + ("" if theirs is None else f" ({theirs:+.2f})")
