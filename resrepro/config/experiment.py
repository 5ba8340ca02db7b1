"""Say what a TOML file declares, as types: its figures, claims and runs. Imports no torch."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, model_validator

from resrepro.config.datasets import MAX_NAME, check_dataset
from resrepro.config.run import MAX_SEED, NAME, Run, Variation
from resrepro.config.strict import StrictModel
from resrepro.errors import UserError
from resrepro.paper import EvaluationProtocol


class PanelSpec(StrictModel):
    """Describe one panel of a figure: its runs by name, and which of their curves it shows.

    An `effects` figure compares with the first run; `not_here` is what it cannot compare, each with the reason.
    """

    title: str
    runs: tuple[str, ...] = Field(min_length=1)
    show: tuple[Literal["train", "test"], ...] = Field(default=("train", "test"), min_length=1)
    paper_error: bool = True
    not_here: dict[str, str] = Field(default_factory=dict)


Kind = Literal[
    "curves", "distance", "effects", "responses", "gradients", "signals", "identity", "lesions", "surface", "phase"
]
# Of the recipe: what tells the cells of a phase diagram apart.
PHASE_FIELDS = ("lr", "warmup", "init", "weight_decay", "batch_size", "decay", "fc_init")


class FigureSpec(StrictModel):
    """Describe one figure. `kind` is a key of FIGURES. Curves are shown until `until_iter`; None: to their end.

    Training error is a `dashed` line (Fig. 6) or a `thin` one (Fig. 4). The axis of the paper's own runs goes from
    `error_min_pct` to `error_max_pct`. A figure is drawn only if one of the runs that it is `about` is stored, or any
    run if it names none.
    """

    name: str = Field(pattern=NAME, max_length=MAX_NAME)
    kind: Kind = "curves"
    title: str
    panel: tuple[PanelSpec, ...] = Field(min_length=1)
    train_line: Literal["dashed", "thin"] = "dashed"
    error_min_pct: float = 0.0
    error_max_pct: float | None = None
    until_iter: int | None = Field(default=None, ge=1)
    about: tuple[str, ...] = ()

    @property
    def run_names(self) -> list[str]:
        """Return the names of the runs of all panels, each once."""
        return list(dict.fromkeys(name for panel in self.panel for name in panel.runs))


Measure = Literal[
    "train_error_pct", "test_error_pct", "top5_error_pct", "warmup_opened_iter", "converging_iter", "response_std",
    "response_least", "response_level", "signal_least", "gradient_first_to_last", "constructed_difference_pct",
    "lesion_rise_pct", "multiply_adds_e9", "multiply_adds_of_vgg19_pct",
]  # fmt: skip


class Claim(StrictModel):
    """A sentence of the paper that runs decide; report/rule.py has the rule.

    It is one of three. An order: `higher`, then each of `between`, then `lower`, each above the next one in `column`.
    A bound: `run` is above `above` and below `below`. Or a number: the test error of `run`, or the difference of
    `higher` and `lower`, is the `published` one. Of the layers' responses an order is that of the layers, by ranks.
    Multiply-adds are counted on architectures, so that nothing is run.

    Args:
        text: of a claim on `each` of several runs, `{net}` is the run's label.
        source: where the paper says it.
        paper: the paper's value, where `paper/numbers.py` has none: a curve, or a bound.
        ours: it is our own sentence, or bound, and not the paper's.
        column: what is compared, a key of MEASURES.
        window: None: an error of the last iteration; or a window of the schedule (`resrepro.paper.curves.windows`),
            over which the run's curve is averaged.
        protocol: how a test error is measured.
        min_difference_pct: an order's neighbors differ by more than this, on average.
        max_difference_pct: and by at most this; None: by anything.
        ensemble: in place of `run`, all runs of the experiment together, by their mean softmax.
        each: in a TOML file, the runs of as many claims, in place of `run`.
    """

    text: str
    source: str = ""
    paper: str = ""
    ours: bool = False
    column: Measure
    window: Literal["plateau", "end"] | None = None
    protocol: EvaluationProtocol = "single view"
    higher: str | None = None
    between: tuple[str, ...] = ()
    lower: str | None = None
    min_difference_pct: float = 0.0
    max_difference_pct: float | None = None
    run: str | None = None
    ensemble: bool = False
    each: tuple[str, ...] = Field(default=(), min_length=1)
    above: float | None = None
    below: float | None = None
    published: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Claim:
        given = {name for name in self.model_fields_set if getattr(self, name) is not False}
        orders = {"higher", "between", "lower", "min_difference_pct", "max_difference_pct"} & given
        subjects = {"run", "each", "ensemble"} & given
        bounds = {"above", "below", "published"} & given
        order = orders >= {"higher", "lower"} and not subjects
        order = order and (not bounds or (bounds == {"published"} and len(orders) == 2))
        bound = len(subjects) == 1 and bounds and not orders and (not self.published or len(bounds) == 1)
        if not order and not bound:
            raise ValueError(
                "expected 'higher' and 'lower', with or without 'between', 'min_difference_pct' and "
                "'max_difference_pct', or with 'published' alone; or 'run', 'each' or 'ensemble' with 'above' or "
                "'below' or both, or with 'published'"
            )
        if len({*self.runs}) < len(self.runs):
            raise ValueError(f"expected each run once in an order; got {', '.join(self.runs)}")
        return self

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Claim:
        for low, high in (("above", "below"), ("min_difference_pct", "max_difference_pct")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least >= most:
                raise ValueError(f"expected {low} < {high}; got {least:g} and {most:g}")
        return self

    @model_validator(mode="after")
    def _window_of_a_curve(self) -> Claim:
        if self.window and (self.column not in ("train_error_pct", "test_error_pct") or self.protocol != "single view"):
            raise ValueError(
                f"window '{self.window}': expected a curve: train_error_pct, or test_error_pct single view"
            )
        kind = "published" if self.published else "ensemble" if self.ensemble else ""
        kind = kind or ("" if self.protocol == "single view" else f"protocol '{self.protocol}'")
        if kind and (self.column not in ("test_error_pct", "top5_error_pct") or self.window):
            raise ValueError(f"{kind}: expected column 'test_error_pct' or 'top5_error_pct', and no window")
        return self

    @property
    def runs(self) -> tuple[str, ...]:
        """Return the runs of an order, the highest first; of a bound, its one run, or `ensemble`."""
        if self.ensemble:
            return ("ensemble",)
        return tuple(name for name in (self.higher, *self.between, self.lower, self.run) if name is not None)

    @property
    def by_rank(self) -> bool:
        """Tell whether the layers of the runs are compared by their ranks."""
        return self.column == "response_std" and self.is_order

    @property
    def is_order(self) -> bool:
        """Tell whether runs are compared with each other."""
        return self.higher is not None

    @property
    def is_counted(self) -> bool:
        """Tell whether it is about architectures, not runs."""
        return self.column in ("multiply_adds_e9", "multiply_adds_of_vgg19_pct")

    @property
    def top(self) -> int:
        """Return 5 if it is about the top-5 error, else 1."""
        return 5 if self.column == "top5_error_pct" else 1

    def of_each(self, labels: Mapping[str, str]) -> tuple[Claim, ...]:
        """Return the claims that it stands for: one a run of `each`, or itself.

        Args:
            labels: of runs, by their names.
        """
        if not self.each:
            return (self,)
        fields = self.model_dump(exclude={"each"}, exclude_unset=True)
        texts = {name: self.text.replace("{net}", labels.get(name, name)) for name in self.each}
        return tuple(Claim(**fields | {"run": name, "text": text}) for name, text in texts.items())


class Experiment(StrictModel):
    """Hold what a TOML file declares: what it reproduces, its runs, its figures and claims.

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
    def as_typed(self) -> str:
        """Return what follows `resrepro run` on the command line: its address, and the options of its variation."""
        return shlex.quote(self.address) + self.variation.options

    @property
    def is_varied(self) -> bool:
        """Tell whether data, schedule or size of the images differ from the file's."""
        return self.variation != Variation()

    def run_names(self) -> list[str]:
        """Return the names of its runs, each once."""
        return list(dict.fromkeys(r.name for r in self.runs))

    def variant(self, variation: Variation) -> Experiment:
        """Return the same experiment on other data, with a shortened schedule or with images of another size.

        Raises:
            UserError: unknown dataset, a scale that is not in (0, 1], an image size where images are taken as they
                are, or resizing where they are cropped.
        """
        scale, dataset = variation.schedule_scale, variation.dataset
        if dataset is None:
            dataset = self.dataset
        if not 0 < scale <= 1:
            raise UserError(f"--schedule-scale {scale:g}: expected more than 0 and at most 1, such as 0.05")
        longest = max(run.recipe.total_iters for run in self.runs)
        if round(longest * scale) < 1:
            raise UserError(
                f"--schedule-scale {scale:g}: leaves no iteration of {longest}; expected {1 / longest:.1g} or more"
            )
        check_dataset(dataset)
        runs = [r.replace(dataset=dataset).scaled(scale) for r in self.runs]
        if variation.image_size is not None:
            runs = [r.with_image_size(variation.image_size) for r in runs]
        if variation.resize is not None:
            runs = [r.resized(variation.resize) for r in runs]
        size, resized = runs[0].image_size, runs[0].recipe.resize is not None
        changed = Variation(
            dataset=None if dataset == self.own_dataset else dataset,
            schedule_scale=scale,
            image_size=None if resized else size,
            resize=size if resized else None,
        )
        return self.model_copy(update={"dataset": dataset, "runs": tuple(runs), "variation": changed})

    def select(self, *, seeds: Sequence[int] | None = None, only: Sequence[str] | None = None) -> Experiment:
        """Return the same experiment with fewer runs, or other seeds; figures and claims stay.

        Args:
            seeds: of each run, in place of the experiment's own; None: those.
            only: names of the runs that stay; None: all stay.

        Raises:
            UserError: a seed that torch does not take.
        """
        for seed in seeds or ():
            if not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
                raise UserError(f"seed {seed}: expected an integer from 0 to {MAX_SEED}")
        runs = [r for r in self.runs if only is None or r.name in only]
        if seeds is not None:
            runs = [r.replace(seed=s) for r in {r.name: r for r in runs}.values() for s in seeds]
        return self.model_copy(update={"runs": tuple(runs)})
