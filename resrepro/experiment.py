"""Recipe, Run, FigureSpec, Claim, Experiment: what a TOML file says, as types. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from resrepro.catalog import check_dataset
from resrepro.errors import UserError, did_you_mean
from resrepro.records import Frozen, Protocol

CURVE_EVERY_ITERS = 500

MIN_CURVE_EVERY_ITERS = 50  # a shortened schedule is not spent on evaluating


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # of files and folders
MAX_SEED = 2**63 - 1


class Warmup(Frozen):
    """A smaller learning rate until the training error, measured, is below a bound (Sec. 4.2, ResNet-110)."""

    lr: float = Field(gt=0)
    until_train_error_pct: float = Field(gt=0, le=100)

    def __str__(self) -> str:
        return f"lr {self.lr:g} until training error < {self.until_train_error_pct:g} %"


class Recipe(Frozen):
    """How a net is trained (Sec. 4.2). All lengths are iterations of one mini-batch.

    What has a default is a switch: the default is our reading where the paper is silent or does not apply.

    Args:
        total_iters: iterations in all.
        batch_size: images a mini-batch.
        lr: base learning rate, divided by 10 at each of `lr_drop_iters`.
        momentum: of SGD; no Nesterov.
        weight_decay: added to the gradient as `weight_decay` times the parameter.
        crop_padding: zeros on each side, pixels, before the random crop; 4 gives 9 x 9 offsets.
        curve_every_iters: iterations between two points of the curves.
        warmup: None, or the gated warm-up of the 110-layer net.
        bn_devices: in training BN sees each of so many equal parts of the mini-batch alone, as on the paper's two GPUs.
        decay: of `all` parameters, or of the `weights` of convolutions and fc alone.
        momentum_form: `pytorch` is v = m v + g, w -= lr v; `caffe` is v = m v + lr g, w -= v, another one where lr
            changes.
        train_images: so many training images, the first in the data set's order; None: all.
    """

    total_iters: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    lr: float = Field(gt=0)
    lr_drop_iters: tuple[int, ...]
    momentum: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    crop_padding: int = Field(ge=0)
    curve_every_iters: int = Field(ge=1)
    warmup: Warmup | None = None
    bn_devices: int = Field(default=1, ge=1)
    decay: Literal["all", "weights"] = "all"
    momentum_form: Literal["pytorch", "caffe"] = "pytorch"
    train_images: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _parts_are_equal(self) -> Recipe:
        if self.batch_size % self.bn_devices:
            raise ValueError(f"bn_devices {self.bn_devices}: expected a divisor of batch_size ({self.batch_size})")
        return self

    @model_validator(mode="after")
    def _drops_in_order(self) -> Recipe:
        drops = self.lr_drop_iters
        if list(drops) != sorted(set(drops)) or any(not 0 < d < self.total_iters for d in drops):
            raise ValueError(
                f"lr_drop_iters {list(drops)}: expected increasing iterations between 0 and total_iters "
                f"({self.total_iters})"
            )
        return self

    def scaled(self, scale: float) -> Recipe:
        """The same recipe with a schedule `scale` times as long; warm-up, rates and mini-batch stay."""
        if scale == 1:
            return self
        total = max(1, round(self.total_iters * scale))
        drops = sorted({round(d * scale) for d in self.lr_drop_iters})
        every = max(MIN_CURVE_EVERY_ITERS, round(self.curve_every_iters * scale))
        return self.model_copy(
            update={
                "total_iters": total,
                "lr_drop_iters": tuple(d for d in drops if 0 < d < total),
                "curve_every_iters": min(every, self.curve_every_iters),
            }
        )


# Also what is meant by a run that was recorded before a switch was there.
SWITCHES: dict[str, Any] = {name: f.default for name, f in Recipe.model_fields.items() if not f.is_required()}

PRESETS: dict[str, dict[str, Any]] = {
    "cifar": {  # Sec. 4.2
        "total_iters": 64000,
        "batch_size": 128,
        "lr": 0.1,
        "lr_drop_iters": (32000, 48000),
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "crop_padding": 4,
        "curve_every_iters": CURVE_EVERY_ITERS,
    },
    "imagenet": {  # Sec. 3.4; drops where the error plateaus
        "total_iters": 600000,
        "batch_size": 256,
        "lr": 0.1,
        "lr_drop_iters": (150000, 300000, 450000),
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "crop_padding": 0,
        "curve_every_iters": 5000,
    },
}


class Run(Frozen):
    """What is trained once and stored once, whoever asks for it: (dataset, architecture, recipe, seed).

    Args:
        start_from: None, or the run with whose final weights it starts: those of a shallower plain net, with identity
            layers added (Sec. 1).
    """

    dataset: str
    name: str
    arch: str
    recipe: Recipe
    seed: int = Field(ge=0)
    schedule_scale: float = 1.0
    label: str
    start_from: Run | None = None

    @property
    def first_iter(self) -> int:
        """The iteration it starts at: with trained weights it is the first drop, so that it has the last rates only."""
        return next(iter(self.recipe.lr_drop_iters), 0) if self.start_from else 0

    def changed(self, **fields: Any) -> Run:
        """The same run with these fields; what it starts from changes alike."""
        source = self.start_from and self.start_from.changed(**fields)
        return self.model_copy(update={**fields, "start_from": source})

    def scaled(self, scale: float) -> Run:
        """The same run with a schedule `scale` times as long, and so what it starts from."""
        source = self.start_from and self.start_from.scaled(scale)
        recipe = self.recipe.scaled(scale)
        return self.model_copy(update={"schedule_scale": scale, "recipe": recipe, "start_from": source})

    @property
    def stored_name(self) -> str:
        """The run's folder name; a shortened schedule is another run."""
        return self.name if self.schedule_scale == 1 else f"{self.name}-x{self.schedule_scale:g}"

    @property
    def path(self) -> Path:
        """Folder below the results directory."""
        return Path(dataset_folder(self.dataset)) / self.stored_name / f"seed{self.seed}"

    def __str__(self) -> str:
        return str(self.path)


def dataset_folder(dataset: str) -> str:
    """`folder:/some/birds` -> `folder-birds`."""
    kind, _, path = dataset.partition(":")
    return f"{kind}-{Path(path).expanduser().resolve().name}" if path else kind


class PanelSpec(Frozen):
    """One panel of a figure: its runs by name, and which of their curves it shows.

    An `effects` figure compares with the first run; `not_here` is what it cannot compare, each with the reason.
    """

    title: str
    runs: tuple[str, ...] = Field(min_length=1)
    show: tuple[Literal["train", "test"], ...] = Field(default=("train", "test"), min_length=1)
    paper_error: bool = True
    not_here: dict[str, str] = Field(default_factory=dict)


class FigureSpec(Frozen):
    """One figure. `kind` is a key of FIGURES. Curves are shown until `until_iter`; None: to their end."""

    name: str = Field(pattern=NAME)
    kind: Literal["curves", "effects", "responses", "gradients", "identity"] = "curves"
    title: str
    panel: tuple[PanelSpec, ...] = Field(min_length=1)
    error_max_pct: float | None = None
    until_iter: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_net_a_panel(self) -> FigureSpec:
        for panel in self.panel:
            if self.kind == "gradients" and len(panel.runs) > 1:
                raise ValueError(f"panel '{panel.title}' has {len(panel.runs)} runs; kind 'gradients' has one a panel")
        return self


Measure = Literal[
    "train_error_pct", "test_error_pct", "response_std", "gradient_first_to_last", "constructed_difference_pct"
]


class Claim(Frozen):
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
    protocol: Protocol = "single view"
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
        order = self.higher is not None and self.lower is not None
        bound = self.run is not None and (self.above is not None or self.below is not None)
        ends = (self.higher, self.lower) != (None, None)
        if order + bound != 1 or (ends and self.run is not None):
            raise ValueError("expected 'higher' and 'lower', or 'run' with 'above' or 'below' or both")
        return self

    @property
    def runs(self) -> tuple[str, ...]:
        """An order's runs, the highest first; a bound's one."""
        return tuple(name for name in (self.higher, *self.between, self.lower, self.run) if name is not None)


class Experiment(Frozen):
    """A TOML file: what it reproduces, its runs, its figures and claims.

    `address` is what names it on the command line: a shipped experiment's name, or the path of the file.
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

    def run_names(self) -> list[str]:
        return list(dict.fromkeys(r.name for r in self.runs))

    def variant(
        self,
        *,
        dataset: str | None = None,
        schedule_scale: float = 1.0,
        seeds: tuple[int, ...] | None = None,
        only: tuple[str, ...] | None = None,
    ) -> Experiment:
        """The same experiment on another data set, with a shortened schedule, other seeds, or fewer runs.

        Raises:
            UserError: unknown data set or run, or a scale that is not in (0, 1].
        """
        if not 0 < schedule_scale <= 1:
            raise UserError(f"--schedule-scale {schedule_scale:g}: expected more than 0 and at most 1, such as 0.05")
        check_dataset(dataset or self.dataset)
        for name in only or ():
            if name not in self.run_names():
                raise UserError(f"--only: {self.name} has no run '{name}'{did_you_mean(name, self.run_names())}")
        runs = [r for r in self.runs if only is None or r.name in only]
        if seeds is not None:
            runs = [r.changed(seed=s) for r in {r.name: r for r in runs}.values() for s in seeds]
        changed = tuple(r.changed(dataset=dataset or r.dataset).scaled(schedule_scale) for r in runs)
        return self.model_copy(update={"dataset": dataset or self.dataset, "runs": changed})
