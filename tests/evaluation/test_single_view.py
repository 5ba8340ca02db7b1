"""Errors and losses over a whole split."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from resrepro.data.in_memory.images import Images
from resrepro.evaluation import single_view
from resrepro.evaluation.single_view import EVALUATION_BATCH, SingleView
from resrepro.models import build
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


def test_a_wide_net_is_given_fewer_images_at_once(
    images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 channels; input, output and shortcut of a layer, fp32."""
    t = training(images, fp32)
    pixels = t.engine.batches.test(torch.arange(1))[0][0, 0].numel()
    monkeypatch.setattr(single_view, "EVALUATION_BYTES", 5 * 3 * 16 * pixels * 4)
    net = build("resnet8", num_classes=10, seed=0)
    before = net.bn1.running_mean.clone()
    view = SingleView(net, t.engine.batches.test_split, fp32)
    assert len(view.offsets) == 5
    assert net.training and torch.equal(before, net.bn1.running_mean)
