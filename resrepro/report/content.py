"""Gather what the report says from `results/`: claims, figures, tables, runs and departures."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from resrepro import paper
from resrepro.config.experiment import Experiment
from resrepro.config.toml_files import experiment_names, find_experiment
from resrepro.errors import UserError
from resrepro.report import claims
from resrepro.report.departures import EVERYTHING_ELSE, OUT_OF_SCOPE, departures_table
from resrepro.report.page import Block, BulletList, Folded, Page, PageFigure, PlainBlock, Section
from resrepro.report.page_figures import PageFigures
from resrepro.report.rule import RULE
from resrepro.report.run_table import provenance, runs_table, stored_records
from resrepro.report.speed import speed_table
from resrepro.report.tables import TABLES, results_table
from resrepro.report.variations import VariedExperiments, varied_experiments
from resrepro.report.verdict import ELSEWHERE, ONE_RUN, STATUSES, Status
from resrepro.results.records import RunRecord

FIRST_FIGURES = ("fig6-corners", "fig6-corners-decay-all")  # the second where the first has no runs
PAPERS: dict[Status, str] = {status: status for status in STATUSES}


def gather(results_dir: Path, *, brief: bool = False) -> Page:
    """Gather the whole page, also from a folder with nothing in it: what is missing is named with its command.

    Args:
        brief: leave out all but the first screen and the claims with runs.
    """
    stored, problems = stored_records(results_dir)
    figures = PageFigures(results_dir, problems)
    shipped = sorted((find_experiment(name) for name in experiment_names()), key=lambda e: (e.reproduces, e.name))
    papers = [e for e in shipped if e.dataset in paper.ITS_DATASETS and not e.beyond_paper]
    judged = claims.verdicts(papers, results_dir)
    declared = {run.path.parent for experiment in papers for run in experiment.runs}
    full = [record for folder, record in stored.items() if folder.parent in declared]
    trained_on = (f"Ours: {provenance(full)}.",) if full else ()
    elsewhere = [
        (scope, claims.verdicts(list(scope.experiments), results_dir)) for scope in varied_experiments(shipped, stored)
    ]
    beyond = [e for e in shipped if e not in papers]
    drawn, drawn_beyond = ([b for e in some for b in figures.of(e, missing=True)] for some in (papers, beyond))
    first = _first([*drawn, *drawn_beyond], results_dir if full else None)
    papers_own = [
        Section(
            title="The paper's claims",
            blocks=(*trained_on, *_claims(judged, results_dir), "The rule:", BulletList(items=RULE)),
        ),
        Section(title="Figures", blocks=_folding(drawn, first)),
        Section(title="Tables", blocks=(*trained_on, *_tables(results_dir, problems))),
    ]
    beside = [_elsewhere(scope, its, figures, results_dir) for scope, its in elsewhere]
    sections = [
        *(papers_own + beside if full else beside + papers_own),  # what there is, before what is missing
        _beyond(beyond, drawn_beyond, first, results_dir),
        Section(title="Every run", blocks=(runs_table(stored),)),
        Section(title="Speed", blocks=(speed_table(results_dir, problems),)),
        Section(title="How this differs from the paper", blocks=(EVERYTHING_ELSE, departures_table(), OUT_OF_SCOPE)),
    ]
    if brief:
        with_runs = [(experiment, verdict) for experiment, verdict in judged if verdict.status != "not run"]
        sections = [Section(title="Claims with runs", blocks=(claims.brief_table(with_runs, PAPERS),))]
    problems = _each_file_once(problems)
    if problems:
        what = "These files could not be used:"
        sections.append(Section(title="Left out", blocks=(what, BulletList(items=tuple(problems)))))
    return Page(
        title="Deep Residual Learning for Image Recognition: the paper and our runs",
        first=first,
        lead=_lead(judged, full, elsewhere, problems),
        counts={status: sum(v.status == status and not v.claim.ours for _, v in judged) for status in STATUSES},
        problems=tuple(problems),
        sections=tuple(sections),
    )


def _first(drawn: list[PlainBlock], results_dir: Path | None) -> tuple[PlainBlock, ...]:
    """Return what stands at the top: Fig. 6, and the table of its nets.

    Args:
        results_dir: None where no run of the paper's experiments is finished: then there is no table.
    """
    named = {b.drawing.name: b for b in drawn if isinstance(b, PageFigure) and b.drawing}
    chosen = [named[name] for name in FIRST_FIGURES if name in named][:1]
    if results_dir is None:
        return tuple(chosen)
    try:
        return (*chosen, results_table(results_dir))
    except (UserError, OSError):  # Table 6 says why
        return tuple(chosen)


def _claims(judged: claims.Judged, results_dir: Path) -> tuple[Block, ...]:
    """Return the claims with runs, and those without, folded."""
    with_runs = [one for one in judged if one[1].status != "not run"]
    missing = [one for one in judged if one[1].status == "not run"]
    blocks: list[Block] = [claims.table("Claims of the paper", with_runs, PAPERS, results_dir)] if with_runs else []
    if missing:
        table = claims.table("Claims without runs", missing, PAPERS, results_dir)
        blocks.append(Folded(summary=f"{len(missing)} claims that have no runs yet, and the commands", blocks=(table,)))
    return tuple(blocks)


def _folding(drawn: list[PlainBlock], first: tuple[PlainBlock, ...]) -> tuple[Block, ...]:
    """Return the blocks that do not stand first, with the figures that are not drawn at the end, folded."""
    missing = [block for block in drawn if isinstance(block, PageFigure) and block.drawing is None]
    there = [block for block in drawn if block not in missing and block not in first]
    summary = f"{len(missing)} figures that need more runs, and the commands"
    return (*there, *([Folded(summary=summary, blocks=tuple(missing))] if missing else []))


def _lead(
    judged: claims.Judged,
    full: list[RunRecord],
    elsewhere: list[tuple[VariedExperiments, claims.Judged]],
    problems: list[str],
) -> tuple[str, ...]:
    """Return the sentences at the top, for a reader who has little time."""
    lines = []
    if not full:
        lines.append("No run of the paper's experiments with the whole schedule is finished yet.")
    num_counted = sum(verdict.claim.is_counted for _, verdict in judged)
    lines.append(
        f"Claims of the paper about multiply-adds, which are counted from the nets without a run: {num_counted}."
    )
    own = Counter(verdict.status for _, verdict in judged if verdict.claim.ours)
    if own:
        counted = ", ".join(f"{own[status]} {status}" for status in STATUSES if own[status])
        lines.append(f"Our own claims, counted separately from the paper's: {counted}.")
    for scope, its in elsewhere:
        count = Counter(ELSEWHERE[verdict.status].removesuffix(ONE_RUN) for _, verdict in its)
        if sum(count.values()) > count["not run"]:
            holds, fails, open_ = (count[word] for word in ("holds here", "does not hold here", "inconclusive"))
            counted = f"{holds} claims hold here, {fails} do not, {open_} are inconclusive"
            lines.append(f"{scope.title}: {counted}; these are not verdicts on the paper's claims.")
    if problems:
        lines.append(f"Files that could not be used: {len(problems)}; the end of the page names them.")
    return tuple(lines)


def _each_file_once(problems: list[str]) -> list[str]:
    """Keep the first line about each file: `PATH: what is wrong`, or `PATH:LINE: what is wrong`."""
    first: dict[str, str] = {}
    for problem in problems:
        first.setdefault(re.sub(r":\d+$", "", problem.partition(": ")[0]), problem)
    return list(first.values())


def _tables(results_dir: Path, problems: list[str]) -> list[Block]:
    """Return Tables 1 to 6."""
    found: list[Block] = []
    for number, table in TABLES.items():
        try:
            found.append(table(results_dir))
        except (UserError, OSError) as error:
            problems.append(str(error))
            found.append(f"Table {number}: left out, because one of its files is damaged.")
    return found


def _elsewhere(scope: VariedExperiments, judged: claims.Judged, figures: PageFigures, results_dir: Path) -> Section:
    """Return claims and figures on other data or under another schedule, as far as there are runs."""
    with_runs = [(experiment, verdict) for experiment, verdict in judged if verdict.status != "not run"]
    blocks: list[Block] = [scope.note]
    if with_runs:
        blocks.append(claims.table("Claims with runs here", with_runs, ELSEWHERE, results_dir))
    blocks += [block for e in scope.experiments for block in figures.of(e, missing=False)]
    return Section(title=scope.title, blocks=tuple(blocks))


def _beyond(
    experiments: list[Experiment], drawn: list[PlainBlock], first: tuple[PlainBlock, ...], results_dir: Path
) -> Section:
    """Return the claims and figures of the shipped experiments that are not part of the paper."""
    blocks: list[PlainBlock] = [
        "These experiments are not part of the paper; their claims are ours, or those of other authors."
    ]
    judged = claims.verdicts(experiments, results_dir)
    blocks.append(claims.table("Claims of these experiments", judged, ELSEWHERE, results_dir))
    return Section(title="Beyond the paper", blocks=_folding([*blocks, *drawn], first))
