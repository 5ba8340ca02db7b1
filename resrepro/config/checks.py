"""Check that an experiment's file agrees with itself, and with what is known of nets and of the paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from resrepro.config.architectures import architecture, counted_nets
from resrepro.config.experiment import PHASE_FIELDS, Experiment
from resrepro.config.recipe import Recipe
from resrepro.config.run import Run
from resrepro.errors import UserError, did_you_mean, printable
from resrepro.paper import published_error_pct

ONE_NET_A_PANEL = ("gradients", "signals", "surface")  # kinds of figures
MAX_DEPTH = 8  # of tables and arrays; `[[figure.panel]]` with its runs is 5 deep


def check_values(value: Any, where: str, depth: int = 0) -> None:
    """Check what the types do not: how deep tables and arrays go, and that texts can be printed in a line.

    Raises:
        UserError: too deep, or a text with line ends or control characters.
    """
    if depth > MAX_DEPTH:
        raise UserError(f"{where}: tables and arrays are nested too deeply")
    if isinstance(value, str) and value != printable(value):
        raise UserError(f"{where}: expected a text without line ends and control characters")
    if isinstance(value, dict):
        for key, inner in value.items():
            check_values(inner, f"{where}: {key}" if depth == 0 else where, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            check_values(inner, where, depth + 1)


def check_unique(runs: Iterable[Run], place: str) -> None:
    """Check that no run is declared twice.

    Raises:
        UserError: one is.
    """
    seen: set[Path] = set()
    for run in runs:
        if run.path in seen:
            raise UserError(
                f"{place}: run '{run.name}' seed {run.seed} is declared twice; give one of them its own 'name'"
            )
        seen.add(run.path)


def check_figures(experiment: Experiment, shipped: Collection[str], drawn_by: Mapping[str, str]) -> None:
    """Check that figures have names of their own, and show the experiment's own runs or `shipped` ones.

    Args:
        drawn_by: the shipped experiments, by the names of their figures.

    Raises:
        UserError: they do not, one is about a run that it does not show, a panel has more runs than its kind can show,
            or a phase diagram cannot tell its runs apart.
    """
    known = [*experiment.run_names(), *shipped]
    names = Counter(figure.name for figure in experiment.figures)
    for figure in experiment.figures:
        place = f"{experiment.address}: figure '{figure.name}'"
        if names[figure.name] > 1:
            raise UserError(f"{place} is declared twice; give one of them another 'name'")
        of = drawn_by.get(figure.name, experiment.name)
        if of != experiment.name:
            raise UserError(f"{place}: a figure of {of} has this name; give it another, for both are one file")
        for name in figure.run_names:
            if name not in known:
                raise UserError(f"{place}: unknown run '{name}'{did_you_mean(name, known)}")
        for name in figure.about:
            if name not in figure.run_names:
                raise UserError(f"{place}: about '{name}': no panel has this run{did_you_mean(name, figure.run_names)}")
        for panel in figure.panel:
            if figure.kind in ONE_NET_A_PANEL and len(panel.runs) > 1:
                what = f"panel '{panel.title}' has {len(panel.runs)} runs; kind '{figure.kind}' has one a panel"
                raise UserError(f"{place}: {what}")
        if figure.kind == "phase":
            _check_phase([run.recipe for run in experiment.runs if run.name in figure.run_names], place)
            for panel in figure.panel:
                _check_depths({run.arch for run in experiment.runs if run.name in panel.runs}, place, panel.title)


def _check_phase(recipes: list[Recipe], place: str) -> None:
    """Check that the recipes differ in nothing but what tells the cells of a phase diagram apart."""
    for field in Recipe.model_fields:
        if field not in PHASE_FIELDS and any(
            getattr(recipe, field) != getattr(recipes[0], field) for recipe in recipes
        ):
            raise UserError(
                f"{place}: its runs differ in {field}; expected recipes that differ in {', '.join(PHASE_FIELDS)} alone"
            )


def _check_depths(archs: Collection[str], place: str, title: str) -> None:
    """Check that a panel of a phase diagram has one net of a depth, for it tells nets apart by their depth alone."""
    depths = {architecture(arch).depth: arch for arch in sorted(archs)}
    for arch in sorted(archs):
        depth = architecture(arch).depth
        if depth and depths[depth] != arch:
            raise UserError(
                f"{place}: panel '{title}': {arch} and {depths[depth]} have {depth} layers each; expected one net of a "
                "depth; give each a panel of its own"
            )


def check_claims(experiment: Experiment, place: str) -> None:
    """Check that claims are about runs of the experiment, or about nets that are counted, and can be measured.

    Raises:
        UserError: one is not, or the paper has no such number.
    """
    whole = {run.name for run in experiment.runs if run.recipe.scale_crop is None}  # images, of one size
    for claim in experiment.claims:
        where = f"{place}: claim '{claim.text}'"
        what, known = ("net", [*counted_nets()]) if claim.is_counted else ("run", experiment.run_names())
        known = ["ensemble"] if claim.ensemble else known
        for name in claim.runs:
            if name not in known:
                raise UserError(f"{where}: unknown {what} '{name}'{did_you_mean(name, known)}")
            if claim.protocol != "single view" and (name in whole or (claim.ensemble and whole)):
                raise UserError(f"{where}: protocol '{claim.protocol}': needs runs with scale_crop in their recipe")
            if claim.published and published_error_pct(experiment.dataset, name, claim.protocol, claim.top) is None:
                error = f"{claim.protocol} {'top-5' if claim.top == 5 else 'test'} error"
                raise UserError(f"{where}: published: the paper has no {error} of '{name}'")
