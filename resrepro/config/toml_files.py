"""Read `experiments/*.toml` strictly: a typing error is one line that names place, value and fix."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from resrepro.config.architectures import architecture, is_architecture
from resrepro.config.checks import check_claims, check_figures, check_unique, check_values
from resrepro.config.datasets import MAX_NAME, SMALL_IMAGES, check_dataset
from resrepro.config.experiment import Claim, Experiment, FigureSpec
from resrepro.config.grid import Grid, with_patterns
from resrepro.config.presets import PRESETS
from resrepro.config.recipe import SWITCHES, Recipe
from resrepro.config.run import MAX_SEED, NAME, Run
from resrepro.config.strict import StrictModel, parse
from resrepro.errors import UserError, did_you_mean, errors_at


class _RunTable(StrictModel):
    arch: str
    name: str | None = Field(default=None, pattern=NAME, max_length=MAX_NAME)
    label: str | None = None
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    start_from: str | None = None
    recipe: dict[str, Any] = Field(default_factory=dict)


class _File(StrictModel):
    title: str
    reproduces: str = ""
    dataset: str
    cost: str = "not measured"
    expect: str = ""
    beyond_paper: bool = False
    recipe: dict[str, Any]
    run: tuple[_RunTable, ...] = ()
    grid: Grid | None = None
    figure: tuple[FigureSpec, ...] = ()
    claim: tuple[Claim, ...] = ()


def experiments_folder() -> Path:
    """Return the folder of the shipped TOML files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    return next(p for p in (package / "experiments", package.parent / "experiments") if p.is_dir())


@cache
def experiment_names() -> tuple[str, ...]:
    """Return the names of the shipped experiments, sorted."""
    return tuple(sorted(p.stem for p in experiments_folder().glob("*.toml")))


def _is_path(name: str) -> bool:
    return name.endswith(".toml") or "/" in name


def find_experiment(name: str) -> Experiment:
    """Return the shipped experiment `name`, or the one in the user's file if `name` is a path to a TOML.

    Raises:
        UserError: no such experiment or file, or a mistake in it.
    """
    if _is_path(name):
        path = Path(name)
        if path.is_dir():
            raise UserError(f"{name}: a folder; expected a TOML file")
        if not path.is_file():
            raise UserError(f"{name}: no such file; give an experiment's name or the path of a TOML file")
        experiment = read_experiment(path)
    elif name not in experiment_names():
        if Path(name).is_file():
            raise UserError(f"{name}: expected an experiment's name or the path of a TOML file")
        raise UserError(f"unknown experiment '{name}'{_hint(name, experiment_names())}")
    else:
        experiment = _shipped(name)
    drawn_by = {name: its.name for name, (its, _) in shipped_figures().items()}
    check_figures(experiment, shipped_runs(experiment.dataset), drawn_by)
    return experiment


def _hint(name: str, known: Sequence[str]) -> str:
    return _trained_by(name) or _drawn_by(name) or did_you_mean(name, known)


def _drawn_by(figure: str) -> str:
    """Return which shipped experiment declares a figure of this name, such as `fig6`, if one does."""
    figures = shipped_figures()
    if figure not in figures:
        return ""
    return f"; it is a figure of {figures[figure][0].name}, drawn by: resrepro plot {figure}"


def _trained_by(net: str) -> str:
    """Return which shipped experiments train a net of this name, such as `resnet20` or `resnet18`, if any do."""
    for option in ("", "-A", "-B"):
        found = [e for e in experiment_names() if any(run.arch == net + option for run in _shipped(e).runs)]
        if found:
            return f"; it is a net, which is trained by {', '.join(found[:3])}"
    return ""


@cache
def _shipped(name: str) -> Experiment:
    return read_experiment(experiments_folder() / f"{name}.toml")


def find_experiments(names: Sequence[str]) -> list[Experiment]:
    """Return the named experiments; `all` alone is what reproduces the paper.

    Raises:
        UserError: as `find_experiment`.
    """
    if "all" in names and {*names} != {"all"}:
        raise UserError("all: beside other names; it stands alone, for all of them")
    if "all" not in names:
        return [find_experiment(name) for name in dict.fromkeys(names)]
    return [e for e in map(find_experiment, experiment_names()) if not e.beyond_paper]


def find_figures(names: Sequence[str]) -> list[tuple[Experiment, tuple[FigureSpec, ...]]]:
    """Return the named experiments, each with its figures; a figure's name stands for its experiment and it alone.

    Raises:
        UserError: as `find_experiments`.
    """
    of_figures = {name: found for name, found in shipped_figures().items() if name not in experiment_names()}
    asked = [name for name in dict.fromkeys(names) if name in of_figures and "all" not in names]
    others = [name for name in names if name not in asked]
    known = [*experiment_names(), *of_figures]
    for name in others:
        if name not in (*known, "all") and not _is_path(name):
            raise UserError(f"no experiment or figure '{name}'{_hint(name, known)}")
    return [(e, e.figures) for e in find_experiments(others)] + [
        (e, (spec,)) for e, spec in map(of_figures.__getitem__, asked)
    ]


@cache
def shipped_runs(dataset: str) -> Mapping[str, Sequence[tuple[str, Run]]]:
    """Return run name -> (experiment, run) pairs of the shipped experiments on `dataset`."""
    found: dict[str, list[tuple[str, Run]]] = {}
    for experiment in map(_shipped, experiment_names()):
        for run in experiment.runs:
            if run.dataset == dataset:
                found.setdefault(run.name, []).append((experiment.name, run))
    return found


def shipped_figures() -> dict[str, tuple[Experiment, FigureSpec]]:
    """Return figure name -> (experiment, figure) of the shipped experiments."""
    return {spec.name: (its, spec) for its in map(_shipped, experiment_names()) for spec in its.figures}


def read_experiment(path: Path) -> Experiment:
    """Read one TOML file.

    Raises:
        UserError: unreadable, or an unknown or mistyped key or value; names the place and the fix.
    """
    shipped = path.parent == experiments_folder()
    place = path.name if shipped else str(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # no file, no UTF-8, no TOML, or an integer of too many digits
        raise UserError(f"{place}: cannot be read as TOML: {error}") from error
    except RecursionError as error:
        raise UserError(f"{place}: tables and arrays are nested too deeply") from error
    check_values(table, place)
    file = parse(_File, table, place)
    with errors_at(place):
        check_dataset(file.dataset)
    runs: list[Run] = []
    sources: dict[str, str] = {}
    specs = [*file.run, *(parse(_RunTable, run, f"{place}: grid") for run in (file.grid.runs() if file.grid else ()))]
    if not specs:
        raise UserError(f"{place}: the key 'run' is missing")
    num_of = Counter(spec.arch for spec in specs)
    for spec in specs:
        where = f"{place}: run '{spec.name or spec.arch}'"
        with errors_at(where):
            name, label = _name_and_label(spec, shared_arch=num_of[spec.arch] > 1)
        if spec.start_from is not None:
            sources[name] = spec.start_from
        table = {**file.recipe, **spec.recipe}
        if architecture(spec.arch).own:
            if {"init", "fc_init"} & {*table}:
                raise UserError(f"{where}: recipe: init, fc_init: {spec.arch} initializes itself; leave them out")
            table |= {name: SWITCHES[name] for name in ("init", "fc_init")}
        recipe = read_recipe(table, where)
        if architecture(spec.arch).family == "imagenet" and file.dataset in SMALL_IMAGES:
            raise UserError(
                f"{where}: {spec.arch} is for ImageNet's photographs, and its layers leave 1 of 32 pixels; for "
                f"{file.dataset} take a net of 6n+2 layers, such as resnet20"
            )
        for seed in spec.seeds:
            if not 0 <= seed <= MAX_SEED:
                raise UserError(f"{where}: seeds: got {seed}, expected integers from 0 to {MAX_SEED}")
            runs.append(Run(dataset=file.dataset, name=name, arch=spec.arch, recipe=recipe, seed=seed, label=label))
    check_unique(runs, place)
    runs = [_with_source(run, sources, runs, place) for run in runs]
    experiment = Experiment(
        name=path.stem, address=path.stem if shipped else str(path), title=file.title,
        reproduces=file.reproduces, dataset=file.dataset, own_dataset=file.dataset,
        cost=file.cost, expect=file.expect, beyond_paper=file.beyond_paper,
        runs=tuple(runs), figures=with_patterns(file.figure, [run.name for run in runs]),
        claims=_claims(file.claim, runs),
    )  # fmt: skip
    check_claims(experiment, place)
    return experiment


def _claims(written: Sequence[Claim], runs: list[Run]) -> tuple[Claim, ...]:
    """Return the claims, those on each of several runs one by one."""
    labels = {run.name: run.label for run in runs}
    return tuple(claim for one in written for claim in one.of_each(labels))


def _name_and_label(spec: _RunTable, *, shared_arch: bool) -> tuple[str, str]:
    """Return a run's name and label; a net of other code is called as what builds it, and not as a net of ours.

    Raises:
        UserError: unknown architecture, or a name that another net has, or that no folder can have.
    """
    arch = architecture(spec.arch)
    name = spec.name or (arch.label if arch.own else spec.arch)
    label = spec.label or (name if shared_arch and name != spec.arch else arch.label)
    if arch.own:
        if not re.fullmatch(NAME, name):
            raise UserError(f"'{name}' cannot name a folder; give the run a 'name' of its own")
        if is_architecture(name):
            raise UserError(f"'{name}' is the name of another net; give the run a 'name' of its own")
    return name, label


def _with_source(run: Run, sources: dict[str, str], runs: list[Run], place: str) -> Run:
    """Return the run with what it starts from: a run of the same file that starts from scratch, with the same seed."""
    if run.name not in sources:
        return run
    name = sources[run.name]
    where = f"{place}: run '{run.name}': start_from"
    known = {r.name: r for r in runs if r.name not in sources}
    if name in sources:
        raise UserError(f"{where} '{name}': expected a run that starts from scratch, and it has a start_from itself")
    if name not in known:
        raise UserError(f"{where}: unknown run '{name}'{did_you_mean(name, known)}")
    source = known[name]
    deep, shallow = architecture(run.arch), architecture(source.arch)
    if (
        any(a.family != "cifar" or a.residual or a.block != "basic" or not a.batch_norm for a in (deep, shallow))
        or deep.depth < shallow.depth
    ):
        raise UserError(
            f"{where} '{name}': expected two plain nets of CIFAR, of which this is the deeper; {deep.label} cannot be "
            f"made of {shallow.label} by adding identity layers"
        )
    if run.recipe.scale_crop is not None:
        raise UserError(f"{where} '{name}': expected images taken as they are, so a recipe without scale_crop")
    return run.model_copy(update={"start_from": source.replace(seed=run.seed)})


def read_recipe(table: dict[str, Any], where: str) -> Recipe:
    """Return the recipe of a table: what it says, and the rest of its preset.

    Raises:
        UserError: unknown preset, or an unknown or mistyped key or value.
    """
    preset = table.get("preset")
    if preset is not None and (not isinstance(preset, str) or preset not in PRESETS):
        raise UserError(f"{where}: recipe: unknown preset '{preset}'{did_you_mean(str(preset), PRESETS)}")
    values = {k: v for k, v in table.items() if k != "preset"}
    return parse(Recipe, {**PRESETS.get(preset or "", {}), **values}, f"{where}: recipe")
