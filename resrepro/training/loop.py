"""Train one net iteration by iteration; the caller records the curve points that it yields."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from resrepro.config.recipe import Recipe
from resrepro.results.records import CurvePoint, LayerNorms, Session
from resrepro.training.schedule import GATE_WINDOW_ITERS, drop_due, gate_opens, learning_rate
from resrepro.training.step import Engine, Totals

EARLY_ITERS = (500, 1000, 2000, 5000)  # where gradients change most, so norms are taken here too


class Diverged(Exception):
    """Reports that the loss became NaN or infinite."""

    def __init__(self, iteration: int) -> None:
        super().__init__(f"the loss is not finite at iteration {iteration}")
        self.iteration = iteration


class Training:
    """Holds one training in progress. `state_dict` is all that a later process needs to go on.

    It can be taken between two iterations, and where a curve point was stopped while it was measured.

    Args:
        first_iter: the iteration it starts at; not 0 where its net is a trained one already.
    """

    def __init__(self, recipe: Recipe, engine: Engine, first_iter: int = 0) -> None:
        self.recipe = recipe
        self.engine = engine
        self.iteration = self.first_iter = first_iter
        self.warmup_opened_iter: int | None = None
        self.drops: list[int] = []  # iterations from which on the rate is divided by 10 once more
        self.points: list[CurvePoint] = []
        self.norms: list[LayerNorms] = []
        self.sessions: list[Session] = []  # the last is the one in progress
        self._at_last_point = self._at_gate_check = engine.totals()
        self._elapsed_before_s = 0.0
        self._started = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Return the training and evaluation time over all sessions, seconds."""
        return self._elapsed_before_s + time.perf_counter() - self._started

    @property
    def lr(self) -> float:
        """Return the learning rate of the next iteration."""
        opened = self.warmup_opened_iter is not None
        return learning_rate(self.recipe, len(self.drops), warmup_open=opened)

    @property
    def notes(self) -> list[str]:
        """Return what the machine lacks to be as fast as it could be, one line each."""
        return self.engine.notes

    @property
    def measuring_iters(self) -> float:
        """Return how many iterations take as long as the last measurements; a forward pass takes a third of a step."""
        engine = self.engine
        num_images = engine.clean_view.images.num_images + 2 * engine.single_view.images.num_images
        return num_images / 3 / self.recipe.batch_size

    def steps(self, check_stop: Callable[[], None] = lambda: None) -> Iterator[CurvePoint | None]:
        """Train to the end of the recipe, and yield after each iteration: a curve point where one is due, else None.

        The host reads from the device only at curve points, and while a warm-up waits for its bound.

        Args:
            check_stop: is called while a curve point is measured, and may raise to stop.

        Raises:
            Diverged: the loss is NaN or infinite.
        """
        self._note_session()
        if self._point_due and self.iteration > self.first_iter:  # it was stopped while it was measured
            yield self._end_iteration(check_stop)
        else:
            self._check_drops()
            self._measure_gradients()
        while self.iteration < self.recipe.total_iters:
            self.engine.step(self.iteration, self.lr)
            self.iteration += 1
            yield self._end_iteration(check_stop)

    def _end_iteration(self, check_stop: Callable[[], None]) -> CurvePoint | None:
        point = self._point(check_stop) if self._point_due else None
        self._check_gate()
        self._check_drops()
        self._measure_gradients()
        return point

    def _note_session(self) -> None:
        session = Session(
            from_iter=self.iteration,
            device=self.engine.compute.name,
            num_threads=torch.get_num_threads(),
            num_processes=self.engine.world.size,
        )
        before = [last.model_copy(update={"from_iter": self.iteration}) for last in self.sessions[-1:]]
        if before != [session]:
            self.sessions.append(session)

    def _check_gate(self) -> None:
        warmup = self.recipe.warmup
        if warmup is None or self.warmup_opened_iter is not None:
            return
        if self.iteration - self.first_iter == warmup.iters:
            self.warmup_opened_iter = self.iteration
        elif warmup.iters is None and self.iteration % GATE_WINDOW_ITERS == 0:
            totals = self.engine.totals()
            _, error_pct = totals.since(self._at_gate_check)
            self._at_gate_check = totals
            if gate_opens(warmup, error_pct):
                self.warmup_opened_iter = self.iteration

    def _check_drops(self) -> None:
        if self.iteration < self.recipe.total_iters:
            while (drop := drop_due(self.recipe, self.iteration, self.drops, self.points)) is not None:
                self.drops.append(drop)

    def _moment(self) -> str | None:
        """Return the name of the moment before the next iteration if gradient norms are taken then, else None."""
        names: dict[int | None, str] = {
            **{early: f"iteration {early}" for early in EARLY_ITERS},
            self.warmup_opened_iter: "after the warm-up",
            **{drop: f"before drop {number}" for number, drop in enumerate(self.drops, 1)},
            self.first_iter: "initialization",
            self.recipe.total_iters: "end",
        }
        at_point = self.recipe.signals == "curve" and self.iteration % self.recipe.curve_every_iters == 0
        return names.get(self.iteration, f"iteration {self.iteration}" if at_point else None)

    def _measure_gradients(self) -> None:
        moment = self._moment()
        if moment is None or any(norms.iteration == self.iteration for norms in self.norms):  # not after a resume again
            return
        stds = self.engine.response_stds() if self.recipe.signals == "curve" else {}
        for found in self.engine.gradient_norms():
            std = stds.get(found.layer)
            self.norms.append(LayerNorms(iteration=self.iteration, moment=moment, **vars(found), response_std=std))

    @property
    def _point_due(self) -> bool:
        last = self.iteration == self.recipe.total_iters
        taken = self.points and self.points[-1].iteration == self.iteration
        return not taken and (last or self.iteration % self.recipe.curve_every_iters == 0)

    def _point(self, check_stop: Callable[[], None]) -> CurvePoint:
        totals = self.engine.totals()
        self._check_finite(totals.loss)
        train_loss, train_error_pct = totals.since(self._at_last_point)
        test = self.engine.test(check_stop)
        self._check_finite(test.loss)
        num_batches, averaged = self.recipe.bn_average_batches, None
        if num_batches is not None:
            averaged = self.engine.test_bn_averaged(self.iteration, num_batches, check_stop).error_pct
        point = CurvePoint(
            iteration=self.iteration,
            lr=self.lr,  # of this iteration: no drop after it has been made yet, and no warm-up has ended
            train_loss=train_loss,
            train_error_pct=train_error_pct,
            test_loss=test.loss,
            test_error_pct=test.error_pct,
            elapsed_s=round(self.elapsed_s, 3),
            test_error_bn_averaged_pct=averaged,
        )
        self.points.append(point)
        self._at_last_point = totals
        return point

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise Diverged(self.iteration)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the training, which `load_state_dict` puts back."""
        return {
            "iteration": self.iteration,
            "warmup_opened_iter": self.warmup_opened_iter,
            "drops": self.drops,
            "points": [p.model_dump() for p in self.points],
            "norms": [n.model_dump() for n in self.norms],
            "shares": [s.model_dump() for s in self.sessions],
            "at_last_point": vars(self._at_last_point),
            "at_gate_check": vars(self._at_gate_check),
            "elapsed_s": self.elapsed_s,
            "engine": self.engine.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the training where `state_dict` was called; states of older versions lack some of the keys."""
        self.engine.load_state_dict(state["engine"])
        self.iteration = state["iteration"]
        self.warmup_opened_iter = state["warmup_opened_iter"]
        self.drops = list(state.get("drops", []))  # older checkpoints: they follow from the iteration
        self.points = [CurvePoint(**p) for p in state["points"]]
        self.norms = [LayerNorms(**n) for n in state.get("norms", [])]  # older checkpoints have none
        self.sessions = [Session(**s) for s in state.get("shares", [])]  # likewise
        self._at_last_point = Totals(**state["at_last_point"])
        self._at_gate_check = Totals(**state["at_gate_check"])
        self._elapsed_before_s = state["elapsed_s"]
        self._started = time.perf_counter()
