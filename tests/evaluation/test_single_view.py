"""Errors and losses over a whole split."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from resrepro.data.in_memory.images import Images
from resrepro.evaluation.single_view import EVALUATION_BATCH, SingleView
from resrepro.runtime.device import Compute
from support.recipes import tiny_recipe
from support.trainings import same, training, weights


def test_evaluation_does_not_change_training(images: Images, fp32: Compute) -> None:
    often = training(images, fp32, tiny_recipe(curve_every_iters=1))
    seldom = training(images, fp32, tiny_recipe(curve_every_iters=12))
    list(often.steps())
    list(seldom.steps())
    assert same(weights(often), weights(seldom))


def test_error_counts_every_image_of_a_partial_last_batch(
    images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    t = training(images, fp32)
    parts = []
    for size in (1, 5, 13, 500):
        monkeypatch.setitem(EVALUATION_BATCH, "cpu", size)
        parts.append(SingleView(t.engine.net, t.engine.batches.test_split, fp32).measure())
    logits = t.engine.net.eval()(t.engine.batches.test(torch.arange(13))[0])
    labels = images.test_labels
    for part in parts:
        assert part.error_pct == pytest.approx(100 * (logits.argmax(1) != labels).double().mean().item())
        assert part.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
