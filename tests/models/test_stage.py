"""How a training calls blocks: activation checkpointing and compiled graphs."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from resrepro.models import build, stage
from resrepro.models.kernels import fused


def step_of(arch: str, call: stage.BlockCall) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients and buffers after one training step of four images."""
    net = build(arch, num_classes=10, seed=0).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    stage.set_block_call(net, call)
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 32, 32, generator=draw).contiguous(memory_format=torch.channels_last)
    loss = F.cross_entropy(net(x), torch.arange(4))
    with ThreadPoolExecutor(1) as pool:  # as CUDA's are: the gradient is computed in a thread of autograd's own
        pool.submit(loss.backward).result()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    assert len(gradients) == len(list(net.parameters()))
    return gradients, [b.clone() for b in net.buffers()]


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("arch", ["resnet14", "plain14"])
def test_computing_activations_again_changes_no_bit(arch: str, enabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients and BN's moving averages, which must not see the mini-batch twice."""
    if enabled and fused.load_kernels():
        pytest.skip("the kernel cannot be built here")
    monkeypatch.setattr(fused, "_fused", enabled)
    once, twice = step_of(arch, stage.plain), step_of(arch, stage.activation_checkpointing(stage.plain))
    assert equal(once[0], twice[0]) and equal(once[1], twice[1])


def test_computing_again_lets_go_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves off in the middle of a block; what was computed by then must not be held by itself."""
    if fused.load_kernels():
        pytest.skip("the kernel cannot be built here")
    kernel, inputs = fused._bn_relu_fused, []

    def noted(bn: nn.BatchNorm2d, x: Tensor, shortcut: Tensor | None) -> Tensor:
        inputs.append(torch._C._WeakTensorRef(x))
        return kernel(bn, x, shortcut)

    monkeypatch.setattr(fused, "_bn_relu_fused", noted)
    step_of("resnet14", stage.activation_checkpointing(stage.plain))
    gc.collect()
    assert len(inputs) == 13 + 12
    assert all(x.expired() for x in inputs)


def test_computing_again_keeps_block_inputs_only() -> None:
    """Bytes that autograd holds, beside the estimate which `--jobs` plans with."""
    from resrepro.models.complexity import complexity

    def held(call: stage.BlockCall) -> int:
        storages: dict[int, Tensor] = {}

        def pack(x: Tensor) -> Tensor:
            storages[x.untyped_storage().data_ptr()] = x
            return x

        net = build("resnet20", num_classes=10, seed=0).train()
        stage.set_block_call(net, call)
        weights = {p.untyped_storage().data_ptr() for p in [*net.parameters(), *net.buffers()]}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            net(torch.randn(4, 3, 32, 32))
        return sum(x.untyped_storage().nbytes() for address, x in storages.items() if address not in weights)

    counts = complexity("resnet20")
    as_is = held(stage.plain)
    assert as_is == pytest.approx(4 * 4 * counts.num_activations, rel=0.05)
    assert held(stage.activation_checkpointing(stage.plain)) < 0.5 * as_is
    assert counts.num_activations_checkpointed < 0.5 * counts.num_activations


@pytest.mark.parametrize("again", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_number_of_compiled_graphs_does_not_grow_with_depth(again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five shapes of blocks: first and later stages, with and without a change of dimensions."""
    monkeypatch.setattr(fused, "_fused", False)
    numbers = []
    for arch in ("resnet20", "plain56"):
        torch._dynamo.reset()
        counter = CompileCounterWithBackend("aot_eager")
        with monkeypatch.context() as patched:
            patched.setattr(stage, "OPTIONS", None)  # they are Inductor's
            patched.setattr(torch, "compile", partial(torch.compile, backend=counter))
            call = stage.compiled()
        compiled = step_of(arch, stage.activation_checkpointing(call) if again else call)
        numbers.append(counter.frame_count)
        plainly = step_of(arch, stage.plain)
        for a, b in zip([*compiled[0], *compiled[1]], [*plainly[0], *plainly[1]], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    assert numbers == [5 * (1 + again)] * 2


def test_evaluation_is_called_plainly() -> None:
    net = build("resnet8", num_classes=10, seed=0)

    def forbidden(_block: nn.Module, _x: Tensor) -> Tensor:
        raise AssertionError("compiled for nothing")

    stage.set_block_call(net, forbidden)
    with torch.no_grad():
        net.train()(torch.zeros(2, 3, 32, 32))
    net.eval()(torch.zeros(2, 3, 32, 32))
    with pytest.raises(AssertionError, match="for nothing"):
        net.train()(torch.zeros(2, 3, 32, 32))
