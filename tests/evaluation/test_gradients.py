"""Responses, gradient norms and identity layers, against answers known beforehand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_recipe
from test_cuda_step import PAPER, cifar_like
from test_training import same, training, weights
from torch import Tensor, nn

from resrepro.config.recipe import Recipe, Warmup
from resrepro.data.in_memory.images import Images
from resrepro.evaluation import constructed, gradients
from resrepro.evaluation.gradients import gradient_norms
from resrepro.evaluation.responses import Responses
from resrepro.evaluation.single_view import EVALUATION_BATCH
from resrepro.models import build
from resrepro.models.kernels import fused as kernels
from resrepro.models.layers import weighted_layers
from resrepro.runtime.device import Compute, choose
from resrepro.training.loop import Training

ARCHS = ["plain8", "resnet8", "plain8-nobn"]


def test_layers_are_counted_as_the_paper_does() -> None:
    for arch, depth in (("resnet20", 20), ("plain20-nobn", 20), ("resnet50", 50), ("resnet18-C", 18)):
        layers = weighted_layers(build(arch, num_classes=10))
        assert [layer.number for layer in layers] == list(range(1, depth + 1))
        assert layers[-1].name == "fc" and layers[-1].bn is None and all(layer.bn for layer in layers[:-1])
    net = build("resnet8", num_classes=10)
    assert [layer.name for layer in weighted_layers(net)][:4] == [
        "conv1",
        "layer1.0.conv1",
        "layer1.0.conv2",
        "layer2.0.conv1",
    ]
    assert weighted_layers(net)[2].bn is net.layer1[0].bn2


# ---- without BN


def test_a_net_without_bn_has_biases_and_computes_what_its_layers_do() -> None:
    net = build("plain8-nobn", num_classes=10, seed=0).eval()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    twin = dict(build("plain8", num_classes=10, seed=0).named_parameters())  # starts from the same weights
    for name, p in net.named_parameters():
        assert not p.any() if "bn" in name else torch.equal(p, twin[name])
    nn.init.normal_(net.layer1[0].bn2.bias)
    x = torch.rand(2, 16, 8, 8)
    block = net.layer1[0]
    y = F.conv2d(x, block.conv1.weight, padding=1).clamp(min=0)
    y = (F.conv2d(y, block.conv2.weight, padding=1) + block.bn2.bias[:, None, None]).clamp(min=0)
    torch.testing.assert_close(block(x), y)


# ---- responses


def linear(arch: str) -> nn.Module:
    """Each BN gives channel c the constant c; what comes in does not matter."""
    net = build(arch, num_classes=3, seed=0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)
            with torch.no_grad():
                module.bias.copy_(torch.arange(len(module.bias)))
    return net.eval()


@pytest.mark.parametrize("arch", ["plain8", "resnet8"])
def test_responses_of_constant_channels_are_known_and_taken_before_addition_and_relu(arch: str) -> None:
    """The channels 0 ... C-1 have a standard deviation of sqrt((C^2 - 1) / 12)."""
    net = linear(arch)
    with Responses(net, 5) as responses, torch.no_grad():
        net(torch.randn(5, 3, 8, 6))
    rows = responses.rows()
    assert [row.layer for row in rows] == list(range(1, 8)) and {row.num_images for row in rows} == {5}
    widths = [16] * 3 + [32] * 2 + [64] * 2
    assert [row.std for row in rows] == pytest.approx([math.sqrt((c**2 - 1) / 12) for c in widths], rel=1e-6)


def test_responses_of_a_trained_net_are_those_of_bn_s_outputs(
    images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 images in batches of 7, so that the last is filled up with images that must not count."""
    monkeypatch.setitem(EVALUATION_BATCH, "cpu", 7)
    t = training(images, fp32)
    list(t.steps())
    with Responses(t.engine.net, 30) as responses:
        t.engine.clean_train(lambda: None)
    net = t.engine.net.eval()
    x = t.engine.batches.clean_train(torch.arange(30))[0]
    with torch.no_grad():
        first = net.bn1(net.conv1(x)).double()
        block = net.layer1[0]
        inner = block.bn1(block.conv1(first.clamp(min=0).float())).clamp(min=0)
        third = block.bn2(block.conv2(inner)).double()
    found = {row.name: row.std for row in responses.rows()}
    assert found["conv1"] == pytest.approx(first.std(correction=0).item(), rel=1e-5)
    assert found["layer1.0.conv2"] == pytest.approx(third.std(correction=0).item(), rel=1e-5)


def test_responses_change_no_measurement_and_leave_no_hook(images: Images, fp32: Compute) -> None:
    t = training(images, fp32)
    list(t.steps())
    before = weights(t)
    plainly = t.engine.clean_train(lambda: None)
    with Responses(t.engine.net, 30):
        assert t.engine.clean_train(lambda: None) == plainly
    assert same(before, weights(t)) and t.engine.net.training
    assert not any(m._forward_hooks for m in t.engine.net.modules())


def test_responses_of_too_few_images_are_refused(fp32: Compute) -> None:
    net = build("plain8", num_classes=3, seed=0).eval()
    with Responses(net, 6) as responses, torch.no_grad():
        net(torch.randn(5, 3, 8, 6))
    with pytest.raises(RuntimeError, match="conv1: 1 images were not seen"):
        responses.rows()


# ---- gradients


def test_gradient_norms_of_a_linear_layer_by_hand(fp32: Compute) -> None:
    """fc alone: with all logits zero the gradient is (1/K - one-hot) times the input, averaged over images."""

    class OneLayer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2, bias=False)
            nn.init.zeros_(self.fc.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x)

    batches = [(torch.tensor([[3.0, 4.0]]), torch.tensor([0])), (torch.tensor([[1.0, 0.0]]), torch.tensor([0]))]
    (row,) = gradient_norms(OneLayer().train(), batches, fp32)
    mean = torch.tensor([[2.0, 2.0]])  # of the inputs, for both have label 0
    assert row.gradient_norm == pytest.approx((torch.tensor([[-0.5], [0.5]]) @ mean).norm().item())
    assert (row.layer, row.name, row.weight_norm) == (1, "fc", 0.0)


def test_gradient_norms_are_of_the_net_that_is_trained_with_bn_in_parts(images: Images, fp32: Compute) -> None:
    recipe = tiny_recipe(bn_devices=2)
    found = training(images, fp32, recipe).engine.gradient_norms()
    twin = training(images, fp32, recipe).engine
    parts = [part for i in range(4) for part in zip(*(t.chunk(2) for t in twin.mini_batch(i)), strict=True)]
    (sum(F.cross_entropy(twin.net(x), y) for x, y in parts) / 8).backward()
    for row, layer in zip(found, weighted_layers(twin.net), strict=True):
        assert row.gradient_norm == pytest.approx(layer.module.weight.grad.norm().item(), rel=1e-4)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("arch", ARCHS)
def test_gradient_norms_are_autograd_s(
    arch: str, fused: bool, images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the mean loss over the mini-batches of iterations 0 to 3, each passed on its own in training mode."""
    if fused and kernels.load_kernels():
        pytest.skip("the kernel cannot be built here")
    engine = training(images, fp32, arch=arch).engine
    monkeypatch.setattr(kernels, "_fused", fused)
    found = engine.gradient_norms()
    twin = training(images, fp32, arch=arch).engine
    loss = sum(F.cross_entropy(twin.net(x), y) for x, y in map(twin.mini_batch, range(4))) / 4
    loss.backward()
    for row, layer in zip(found, weighted_layers(twin.net), strict=True):
        assert (row.layer, row.name) == (layer.number, layer.name)
        assert row.gradient_norm == pytest.approx(layer.module.weight.grad.norm().item(), rel=1e-4)
        assert row.weight_norm == pytest.approx(layer.module.weight.norm().item(), rel=1e-6)
    assert len(found) == 8 and found[-1].name == "fc"


@contextmanager
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_measure_gradients", lambda _: None)
        yield


def everything(t: Training) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Weights, BN's averages and counters, momenta, totals; and the curve points without their clock."""
    state = t.engine.state_dict()
    tensors = {**state["model"], **{f"{k} v": v for k, v in state["momentum"].items()}, "totals": state["totals"]}
    return tensors, [p.model_dump(exclude={"elapsed_s"}) for p in t.points]


@pytest.mark.parametrize("arch", ARCHS)
def test_measuring_gradients_changes_no_bit_of_the_training(
    arch: str, images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, plainly = training(images, fp32, arch=arch), training(images, fp32, arch=arch)
    list(measured.steps())
    with unmeasured(monkeypatch):
        list(plainly.steps())
    assert not plainly.norms and measured.norms
    (tensors, points), (other, other_points) = everything(measured), everything(plainly)
    assert same(tensors, other) and points == other_points


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_measuring_gradients_changes_no_bit_on_cuda(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the step is a recorded graph that owns the gradients' memory."""
    compute = choose("cuda", precision)
    with compute.stream():
        measured, plainly = (training(cifar_like(), compute, tiny_recipe(**PAPER), "resnet20") for _ in range(2))
        list(measured.steps())
        with unmeasured(monkeypatch):
            list(plainly.steps())
        assert measured.norms and same(everything(measured)[0], everything(plainly)[0])


def test_measuring_touches_neither_grad_nor_the_way_blocks_are_called(images: Images, fp32: Compute) -> None:
    engine = training(images, fp32).engine
    engine.step(0, 0.1)
    grads = [p.grad for p in engine.net.parameters()]
    kept = [g.clone() for g in grads]
    calls = [stage.call for stage in (engine.net.layer1, engine.net.layer3)]
    engine.gradient_norms()
    assert all(p.grad is g for p, g in zip(engine.net.parameters(), grads, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(grads, kept, strict=True))
    assert calls == [stage.call for stage in (engine.net.layer1, engine.net.layer3)]


def moments(t: Training) -> list[tuple[int, str]]:
    return list(dict.fromkeys((row.iteration, row.moment) for row in t.norms))


def test_norms_are_taken_at_the_start_before_each_drop_and_at_the_end(images: Images, fp32: Compute) -> None:
    t = training(images, fp32)
    fresh = training(images, fp32).engine.gradient_norms()
    list(t.steps())
    assert moments(t) == [(0, "initialization"), (6, "before drop 1"), (9, "before drop 2"), (12, "end")]
    assert len(t.norms) == 4 * 8
    assert [row.gradient_norm for row in t.norms[:8]] == [row.gradient_norm for row in fresh]
    assert [row.gradient_norm for row in t.norms[-8:]] == [row.gradient_norm for row in t.engine.gradient_norms()]


WARM = tiny_recipe(total_iters=130, lr_drop_iters=(110,), curve_every_iters=50).model_copy(
    update={"warmup": Warmup(lr=0.001, until_train_error_pct=100)}
)


@pytest.mark.parametrize(("recipe", "stops"), [(tiny_recipe(), range(1, 13)), (WARM, (99, 100, 101, 110, 130))])
def test_a_resume_neither_loses_nor_repeats_norms(recipe: Recipe, stops: Any, images: Images, fp32: Compute) -> None:
    whole = training(images, fp32, recipe)
    list(whole.steps())
    if recipe is WARM:
        assert moments(whole)[1] == (100, "after the warm-up")
    for stop in stops:
        first, second = training(images, fp32, recipe), training(images, fp32, recipe)
        steps = first.steps()
        for _ in range(stop):
            next(steps)
        second.load_state_dict(first.state_dict())
        list(second.steps())
        assert second.norms == whole.norms


def test_a_checkpoint_of_an_older_version_has_no_norms(images: Images, fp32: Compute) -> None:
    first, second = training(images, fp32), training(images, fp32)
    steps = first.steps()
    for _ in range(7):
        next(steps)
    state = first.state_dict()
    del state["norms"]
    second.load_state_dict(state)
    list(second.steps())
    assert moments(second) == [(9, "before drop 2"), (12, "end")]


# ---- identity layers


def pair(
    images: Images, compute: Compute, precision: str = "fp32"
) -> tuple[Training, nn.Module, constructed.ConstructedComparison]:
    """A trained plain-8, and a plain-20 made of it."""
    t = training(images, compute, arch="plain8")
    list(t.steps())
    deep = build("plain20", num_classes=3, seed=1).to(memory_format=torch.channels_last).train()
    inputs = (t.engine.mini_batch(i)[0] for i in range(20))
    sets: dict[constructed.Name, Any] = {"test": t.engine.batches.test_split}
    (row,) = constructed.construct(deep, t.engine.net, inputs, sets, compute, lambda: None)
    return t, deep, row


def test_a_block_with_known_statistics_is_the_identity_in_inference_and_on_such_a_batch_in_training() -> None:
    block = build("plain20", num_classes=3, seed=0).layer1[1]
    x = torch.rand(64, 16, 8, 8) * torch.arange(16)[:, None, None]  # the first channel is dead
    variance, mean = torch.var_mean(x.double(), dim=(0, 2, 3), correction=0)
    with torch.no_grad():
        constructed._make_identity(block, (mean, variance))
        torch.testing.assert_close(block.eval()(x), x, rtol=1e-5, atol=1e-5)
        other = torch.rand(64, 16, 8, 8) * 5  # of other statistics
        torch.testing.assert_close(block.eval()(other), other, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(block.train()(x), x, rtol=1e-5, atol=1e-5)


def test_the_deeper_net_computes_what_the_shallower_does(images: Images, fp32: Compute) -> None:
    t, deep, row = pair(images, fp32)
    assert row.error_pct == row.shallower_error_pct == t.points[-1].test_error_pct and row.num_images == 13
    assert 0 < row.largest_difference < 1e-5 * row.largest_output
    x, _ = t.engine.batches.test(torch.arange(13))
    a, b = t.engine.net.eval()(x), deep.eval()(x)
    assert row.largest_difference == pytest.approx((a - b).abs().max().item(), rel=1e-3)
    assert row.largest_output == pytest.approx(max(a.abs().max().item(), b.abs().max().item()))


def test_in_training_mode_it_is_the_identity_nearly(images: Images, fp32: Compute) -> None:
    """On mini-batches that the statistics were not taken from; the untouched net and one with BN 0, 1 are far off."""
    t, deep, _ = pair(images, fp32)
    naive = build("plain20", num_classes=3, seed=1)
    naive.load_state_dict(deep.state_dict())
    for name in ("layer1", "layer2", "layer3"):
        for block in naive.get_submodule(name)[1:]:
            for bn in (block.bn1, block.bn2):
                bn.reset_parameters()

    def difference(net: nn.Module) -> float:
        found = []
        for i in range(100, 110):
            x, _ = t.engine.mini_batch(i)
            with torch.no_grad():
                found.append((net.train()(x) - t.engine.net.train()(x)).abs().mean().item())
        return sum(found) / len(found)

    assert difference(deep) < 0.2 * difference(naive)


def test_the_source_is_left_as_it_was(images: Images, fp32: Compute) -> None:
    t = training(images, fp32, arch="plain8")
    list(t.steps())
    before = weights(t)
    deep = build("plain14", num_classes=3, seed=1)
    constructed.deepen(deep, t.engine.net, [t.engine.mini_batch(0)[0]], fp32)
    assert same(before, weights(t)) and t.engine.net.training
    assert not any(m._forward_hooks for m in t.engine.net.modules())


def test_number_of_mini_batches_is_what_the_docs_say() -> None:
    assert (gradients.NUM_BATCHES, constructed.NUM_BATCHES) == (4, 100)
