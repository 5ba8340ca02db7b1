"""The paper's claims as a table: its value, ours, their difference, n, what decides, and the verdict."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev

from resrepro import paper
from resrepro.catalog import PENDING_DATASETS
from resrepro.experiment import Claim, Experiment
from resrepro.tables import Table
from resrepro.verdict import MEASURES, Verdict, judge

COLUMNS = ("claim", "measured", "paper", "ours", "difference", "n", "decided by", "verdict")
NOTE = (
    "ours: mean ± standard deviation over seeds; difference: of an order of two, the first minus the second (the "
    "paper's in parentheses), of a longer one its least step, of a value ours minus the paper's; n: finished seeds"
)


def verdicts(experiments: list[Experiment], results_dir: Path) -> list[tuple[Experiment, Verdict]]:
    """Each claim once, though several experiments may make it."""
    found: dict[Claim, tuple[Experiment, Verdict]] = {}
    for experiment in experiments:
        for claim in experiment.claims:
            same = claim.model_copy(update={"text": "", "source": ""})
            if same not in found:
                found[same] = (experiment, judge(experiment, claim, results_dir))
    return list(found.values())


def table(title: str, judged: list[tuple[Experiment, Verdict]], words: dict[str, str], options: str) -> Table:
    """A row a claim.

    Args:
        words: what a status is called here.
        options: of the command that trains what is missing.
    """
    rows = tuple(_row(experiment, verdict, words, options) for experiment, verdict in judged)
    return Table(title=title, columns=COLUMNS, rows=rows, notes=(NOTE,))


def _row(experiment: Experiment, verdict: Verdict, words: dict[str, str], options: str) -> tuple[str, ...]:
    claim = verdict.claim
    published = _published(experiment, claim, full=not options)
    text = f"{claim.text} ({claim.source})" if claim.source else claim.text
    start = (text, _measured(claim), _shown(published, claim) or claim.paper or "curves only" if not options else "")
    if verdict.status == "not run":
        command = f"`resrepro run {experiment.address}{options}`"
        pending = PENDING_DATASETS.get(experiment.dataset, "").partition(";")[0]
        why = f"{verdict.detail}; {command}" + (f" ({pending})" if pending else "")
        return (*start, "", "", "", why, words[verdict.status])
    ours = _joined([_value(values) for values in verdict.values.values()], claim)
    counts = dict.fromkeys(str(len(values)) for values in verdict.values.values())
    return (
        *start, ours, _difference(verdict, published), ", ".join(counts), verdict.test, words[verdict.status],
    )  # fmt: skip


def _measured(claim: Claim) -> str:
    measure = MEASURES[claim.column]
    how = f", {claim.protocol}" if claim.column == "test_error_pct" else ""
    return f"{measure.words}{how}{measure.unit and f' ({measure.unit.strip()})'}"


def _published(experiment: Experiment, claim: Claim, *, full: bool) -> list[float]:
    """The paper's number for each run, or none at all; it has none for another schedule or data set."""
    if not full or claim.column != "test_error_pct":
        return []
    found = [paper.test_error_pct(experiment.dataset, name, claim.protocol) for name in claim.runs]
    known = [value for value in found if value is not None]
    return known if len(known) == len(found) else []


def _shown(published: list[float], claim: Claim) -> str:
    return _joined([f"{value:.2f}" for value in published], claim)


def _joined(values: list[str], claim: Claim) -> str:
    """`8.75 > 7.51`, or the one value and, of a bound, what it is to keep."""
    return " > ".join(values)


def _value(values: tuple[float, ...]) -> str:
    mean = f"{fmean(values):.3g}" if abs(fmean(values)) < 1 else f"{fmean(values):.2f}"
    return f"{mean}±{stdev(values):.2f}" if len(values) > 1 else mean


def _difference(verdict: Verdict, published: list[float]) -> str:
    means = [fmean(values) for values in verdict.values.values()]
    if verdict.claim.run is not None:
        return f"{means[0] - published[0]:+.2f}" if published else ""
    ours = min(high - low for high, low in pairwise(means))
    theirs = min((high - low for high, low in pairwise(published)), default=None)
    return f"{ours:+.2f}" + ("" if theirs is None else f" ({theirs:+.2f})")
