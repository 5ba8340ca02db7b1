"""Run, FigureSpec, Claim, Experiment: what a TOML file says, as types. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from resrepro.config.datasets import check_dataset
from resrepro.config.run import NAME, Run, Variation
from resrepro.config.strict import StrictModel
from resrepro.errors import UserError, did_you_mean
from resrepro.paper import EvaluationProtocol


class PanelSpec(StrictModel):
    """One panel of a figure: its runs by name, and which of their curves it shows.

    An `effects` figure compares with the first run; `not_here` is what it cannot compare, each with the reason.
    """

    title: str
    runs: tuple[str, ...] = Field(min_length=1)
    show: tuple[Literal["train", "test"], ...] = Field(default=("train", "test"), min_length=1)
    paper_error: bool = True
    not_here: dict[str, str] = Field(default_factory=dict)


class FigureSpec(StrictModel):
    """One figure. `kind` is a key of FIGURES. Curves are shown until `until_iter`; None: to their end.

    Training error is a `dashed` line (Fig. 6) or a `thin` one (Fig. 4). The axis of the paper's own runs goes from
    `error_min_pct` to `error_max_pct`.
    """

    name: str = Field(pattern=NAME)
    kind: Literal["curves", "effects", "responses", "gradients", "identity"] = "curves"
    title: str
    panel: tuple[PanelSpec, ...] = Field(min_length=1)
    train_line: Literal["dashed", "thin"] = "dashed"
    error_min_pct: float = 0.0
    error_max_pct: float | None = None
    until_iter: int | None = Field(default=None, ge=1)

    @property
    def run_names(self) -> list[str]:
        """Of all panels, each once."""
        return list(dict.fromkeys(name for panel in self.panel for name in panel.runs))

    @model_validator(mode="after")
    def _one_net_a_panel(self) -> FigureSpec:
        for panel in self.panel:
            if self.kind == "gradients" and len(panel.runs) > 1:
                raise ValueError(f"panel '{panel.title}' has {len(panel.runs)} runs; kind 'gradients' has one a panel")
        return self


Measure = Literal[
    "train_error_pct", "test_error_pct", "response_std", "gradient_first_to_last", "constructed_difference_pct"
]


class Claim(StrictModel):
    """A sentence of the paper that runs decide; verdict.py has the rule.

    Either an order: `higher`, then each of `between`, then `lower`, each above the next one in `column`. Or a bound:
    `run` is above `above` and below `below`.

    Args:
        source: where the paper says it.
        paper: the paper's value, where paper.py has none: a curve, or a bound.
        column: what is compared, a key of MEASURES; of the last iteration.
        protocol: how a test error is measured.
        min_difference_pct: an order's neighbors differ by more than this.
        max_difference_pct: and by at most this; None: by anything.
    """

    text: str
    source: str = ""
    paper: str = ""
    column: Measure
    protocol: EvaluationProtocol = "single view"
    higher: str | None = None
    between: tuple[str, ...] = ()
    lower: str | None = None
    min_difference_pct: float = 0.0
    max_difference_pct: float | None = None
    run: str | None = None
    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Claim:
        orders = {"higher", "between", "lower", "min_difference_pct", "max_difference_pct"} & self.model_fields_set
        bounds = {"run", "above", "below"} & self.model_fields_set
        order = orders >= {"higher", "lower"} and not bounds
        bound = "run" in bounds and len(bounds) > 1 and not orders
        if not order and not bound:
            raise ValueError(
                "expected 'higher' and 'lower', with or without 'between', 'min_difference_pct' and "
                "'max_difference_pct', or 'run' with 'above' or 'below' or both"
            )
        return self

    @property
    def runs(self) -> tuple[str, ...]:
        """An order's runs, the highest first; a bound's one."""
        return tuple(name for name in (self.higher, *self.between, self.lower, self.run) if name is not None)


class Experiment(StrictModel):
    """A TOML file: what it reproduces, its runs, its figures and claims.

    `address` is what names it on the command line: a shipped experiment's name, or the path of the file.
    `own_dataset` is the file's, whatever `variation` made of it.
    `beyond_paper`: it is no part of what reproduces the paper, so `all` leaves it out.
    """

    name: str
    address: str
    title: str
    reproduces: str
    dataset: str
    cost: str
    expect: str
    beyond_paper: bool
    runs: tuple[Run, ...]
    figures: tuple[FigureSpec, ...] = ()
    claims: tuple[Claim, ...] = ()
    own_dataset: str
    variation: Variation = Variation()

    @property
    def is_varied(self) -> bool:
        """Whether data, schedule or size of the images are not the file's."""
        return self.variation != Variation()

    def run_names(self) -> list[str]:
        return list(dict.fromkeys(r.name for r in self.runs))

    def variant(
        self,
        *,
        dataset: str | None = None,
        schedule_scale: float = 1.0,
        image_size: int | None = None,
        seeds: tuple[int, ...] | None = None,
        only: tuple[str, ...] | None = None,
    ) -> Experiment:
        """The same experiment on other data, with a shortened schedule, smaller images, other seeds, or fewer runs.

        Raises:
            UserError: unknown dataset or run, or a scale that is not in (0, 1].
        """
        if not 0 < schedule_scale <= 1:
            raise UserError(f"--schedule-scale {schedule_scale:g}: expected more than 0 and at most 1, such as 0.05")
        check_dataset(dataset or self.dataset)
        for name in only or ():
            if name not in self.run_names():
                raise UserError(f"--only: {self.name} has no run '{name}'{did_you_mean(name, self.run_names())}")
        runs = [r for r in self.runs if only is None or r.name in only]
        if seeds is not None:
            runs = [r.replace(seed=s) for r in {r.name: r for r in runs}.values() for s in seeds]
        runs = [r.replace(dataset=dataset or r.dataset).scaled(schedule_scale) for r in runs]
        if image_size is not None:
            runs = [r.with_image_size(image_size) for r in runs]
        variation = Variation(
            dataset=None if dataset in (None, self.own_dataset) else dataset,
            schedule_scale=schedule_scale,
            image_size=runs[0].image_size,
        )
        return self.model_copy(update={"dataset": dataset or self.dataset, "runs": tuple(runs), "variation": variation})
