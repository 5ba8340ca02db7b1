"""The step on a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resrepro.models.kernels.fused import conv3x3, load_cuda_kernels, load_kernels, use_torch
from resrepro.runtime.device import Compute, choose
from resrepro.training.execution import Execution, Preparation
from support.recipes import tiny_recipe
from support.trainings import PAPER, SWITCHED, cifar_like, same, training, weights


def losses(
    arch: str,
    compute: Compute,
    execution: Execution,
    iterations: int = 20,
    *,
    lr: float = 0.1,
    noise: float = 0.0,
    seed: int = 0,
) -> list[float]:
    """The sums of the losses, from weights that are each changed by a part of about `noise`."""
    with compute.stream():
        t = training(cifar_like(), compute, tiny_recipe(**PAPER), arch, execution)
        if compute.device.type == "cuda":
            assert t.engine.kernels in (("triton", "compiled") if execution.compiled else ("torch",))
            assert [note for note in t.engine.notes if "computed twice" not in note] == []
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in t.engine.net.parameters():
                p *= 1 + noise * torch.randn(p.shape, generator=draw).to(p.device)
        found = []
        for i in range(iterations):
            t.engine.step(i, lr)
            found.append(t.engine.totals().loss)
    return found


@pytest.fixture
def ours_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our convolutions (they are for bf16) also where the step is not captured, so that the same is computed."""
    monkeypatch.setattr(
        Preparation, "_compiled_kernels", lambda self: load_cuda_kernels(self.compute.device) or "triton"
    )


def by_rounding(arch: str, cpu: list[float], fp32: Compute) -> list[float]:
    """Return how far losses may be from these: 30 times what a change of all weights by 1e-7 makes, and 1e-5."""
    others = [losses(arch, fp32, Execution(), len(cpu), noise=1e-7, seed=seed) for seed in range(3)]
    return [30 * max(abs(a - b) for a in values) + 1e-5 * b for b, *values in zip(cpu, *others, strict=True)]


def within(found: list[float], expected: list[float], distance: list[float]) -> bool:
    return all(abs(a - b) < d for a, b, d in zip(found, expected, distance, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("arch", ["plain20", "resnet20", "resnet56"])
def test_first_losses_on_cuda_equal_the_cpus(arch: str, fp32: Compute) -> None:
    cpu, cuda = (losses(arch, compute, Execution(), iterations=3) for compute in (fp32, choose("cuda", "fp32")))
    assert within(cuda, cpu, by_rounding(arch, cpu, fp32))


def test_two_right_implementations_differ_by_rounding(fp32: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the test above can pass; it fails where a step is too long by a hundredth."""
    if reason := load_kernels():
        pytest.skip(reason)
    ours = losses("resnet20", fp32, Execution(), iterations=3)
    distance = by_rounding("resnet20", ours, fp32)
    assert not within(losses("resnet20", fp32, Execution(), iterations=3, lr=0.101), ours, distance)
    monkeypatch.setattr("resrepro.training.execution.load_kernels", lambda: use_torch() or "torch's are wanted")
    torchs = losses("resnet20", fp32, Execution(), iterations=3)
    assert torchs != ours and within(torchs, ours, distance)


@pytest.mark.gpu
def test_switches_on_cuda_equal_the_cpus(fp32: Compute) -> None:
    """Recorded, across a change of the rate."""
    found = []
    for compute in (fp32, choose("cuda", "fp32")):
        with compute.stream():
            t = training(cifar_like(), compute, tiny_recipe(**PAPER, **SWITCHED), "resnet20")
            for i in range(8):
                t.engine.step(i, 0.1 if i < 5 else 0.01)
            found.append(t.engine.totals().loss)
    assert found[1] == pytest.approx(found[0], rel=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("execution", [Execution(cuda_graph=False), Execution(activation_checkpointing=True)])
@pytest.mark.usefixtures("ours_everywhere")
def test_recording_and_recomputing_change_no_bit_on_cuda(execution: Execution, precision: str) -> None:
    compute = choose("cuda", precision)
    assert losses("resnet20", compute, execution) == losses("resnet20", compute, Execution())


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "kernels"), [("bf16", "triton"), ("fp32", "compiled")])
def test_our_convolutions_are_used_in_bf16(precision: str, kernels: str) -> None:
    compute = choose("cuda", precision)
    with compute.stream():
        assert training(cifar_like(), compute, tiny_recipe(**PAPER), "resnet20").engine.kernels == kernels


@pytest.mark.gpu
def test_resuming_on_cuda_is_bit_identical() -> None:
    compute, recipe = choose("cuda", "bf16"), tiny_recipe(**PAPER)
    with compute.stream():
        whole, first, second = (training(cifar_like(), compute, recipe, "resnet20") for _ in range(3))
        list(whole.steps())
        steps = first.steps()
        for _ in range(13):
            next(steps)
        second.load_state_dict(first.state_dict())
        list(second.steps())
        assert same(weights(whole), weights(second))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.usefixtures("ours_everywhere")
def test_averages_by_a_captured_forward_pass_are_those_of_the_net(precision: str) -> None:
    found = []
    for execution in (Execution(), Execution(cuda_graph=False)):
        with (compute := choose("cuda", precision)).stream():
            t = training(
                cifar_like(), compute, tiny_recipe(**PAPER, bn_average_batches=3, bn_devices=2), "resnet20", execution
            )
            t.engine.step(0, 0.1)
            found.append((t.engine.test_bn_averaged(1, 3), t.engine.test(), weights(t)))
    assert found[0][:2] == found[1][:2]
    assert found[0][0] != found[0][1]
    assert same(found[0][2], found[1][2])


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [16, 32, 64])
def test_our_convolutions_are_cudnns_to_bf16(channels: int) -> None:
    compute = choose("cuda", "bf16")
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(compute.device, memory_format=torch.channels_last)
    side = 512 // channels
    x = torch.randn(128, channels, side, side, device=compute.device).to(memory_format=torch.channels_last).bfloat16()
    found = []
    for load in (lambda: load_cuda_kernels(compute.device), use_torch):
        load()
        inputs = x.clone().requires_grad_()
        with compute.autocast():
            y = conv3x3(conv, inputs)
        found.append((y, *torch.autograd.grad(y.float().square().sum(), (inputs, conv.weight))))
        assert ("conv3x3_cuda" in y.grad_fn.name()) == (load is not use_torch)
    for ours, cudnns in zip(*found, strict=True):
        assert (ours.float() - cudnns.float()).abs().max() < 0.01 * cudnns.float().abs().max()
