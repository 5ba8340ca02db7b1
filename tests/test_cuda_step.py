"""What a CPU can prove of the CUDA step, and, marked `gpu`, what it cannot."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_recipe
from test_training import same, training, weights
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from resrepro.config.recipe import ScaleCrop
from resrepro.data.dataset import InputPipeline
from resrepro.data.image_files.listing import ImageFiles, ImageFolder
from resrepro.data.image_files.pipeline import ImageFilePipeline
from resrepro.data.in_memory.images import Images
from resrepro.data.in_memory.pipeline import InMemoryPipeline
from resrepro.models import build, stage
from resrepro.models.kernels import fused
from resrepro.runtime.device import Compute, choose
from resrepro.training.cuda_graph import capture
from resrepro.training.step import Engine, Execution


class OnlyCuda(TorchDispatchMode):
    """Fails where an operation touches a tensor of another device. (Fake tensors fail where the host reads one.)"""

    def __torch_dispatch__(self, f: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = f(*args, **(kwargs or {}))
        for x in tree_leaves((args, kwargs, found)):
            assert not isinstance(x, Tensor) or x.device.type == "cuda", f"{f} on {x.device}"
        return found


SWITCHED = {"bn_devices": 2, "decay": "weights", "momentum_form": "caffe"}
WITH_AND_WITHOUT = pytest.mark.parametrize("switches", [{}, SWITCHED], ids=["default", "switched"])


def in_memory(images: Images, device: torch.device) -> InputPipeline:
    return InMemoryPipeline(images, padding=tiny_recipe().crop_padding, device=device)


def of_files(_images: Images, device: torch.device) -> InputPipeline:
    """Files that are never read: nothing is loaded."""
    files = ImageFiles(folder="", names=np.array([b"a", b"b"]), labels=np.arange(2))
    tree = ImageFolder(train=files, test=files, classes=("a", "b"), place="")
    crop = ScaleCrop(size=8, shorter_side=(9, 12))
    mean = torch.zeros(8, 8, 3, device=device)
    return ImageFilePipeline(tree, crop, mean=mean, num_workers=0, skip_corrupt=False, device=device)


@WITH_AND_WITHOUT
@pytest.mark.parametrize("source", [in_memory, of_files])
@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_neither_step_nor_evaluation_reads_or_copies_on_the_host(
    images: Images,
    source: Callable[[Images, torch.device], InputPipeline],
    switches: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On tensors that pretend to be CUDA's: what a recording would not allow fails here too."""
    compute, recipe = Compute(device=torch.device("cuda:0"), precision="fp32"), tiny_recipe(**switches)
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda:0"):
            net = build("resnet8", num_classes=3)
        monkeypatch.setattr(net, "to", lambda *_, **__: net)  # fake weights cannot be moved, and are there already
        batches = source(images, compute.device)
        engine = Engine(
            net, batches, recipe, seed=0, compute=compute, execution=Execution(compiled=False, cuda_graph=False)
        )

        monkeypatch.setattr(Tensor, "backward", lambda _: None)  # autograd's threads and the fused optimizer need
        monkeypatch.setattr(engine.optimizer, "step", lambda: None)  # a real device
        with OnlyCuda():
            engine._step()
            net.eval()
            engine.single_view.evaluate_chunk()


class FakeGraph:
    """Stands for torch.cuda.CUDAGraph: replays the Python that ran while it was recorded."""

    def __init__(self) -> None:
        self.replay: Callable[[], None] = lambda: None

    def pool(self) -> str:
        return "a pool"


@pytest.fixture
def fake_graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Recording on the CPU. Gives the pools that recordings were asked to share."""
    pools: list[Any] = []

    @contextmanager
    def recording(_graph: FakeGraph, *, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"  # else other runs' threads would break it
        pools.append(pool)
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "a stream")
    return pools


def test_a_recording_leaves_no_trace_in_what_it_changes(fake_graphs: list[Any]) -> None:
    count = torch.zeros(())
    _, pool = capture(lambda: count.add_(1), [count])
    assert count == 0 and pool == "a pool"


@WITH_AND_WITHOUT
def test_recording_step_and_evaluation_changes_no_result(
    images: Images, fp32: Compute, switches: dict[str, Any], fake_graphs: list[Any]
) -> None:
    recorded, plainly = (training(images, fp32, tiny_recipe(**switches)) for _ in range(2))
    recorded.engine._capture()
    assert fake_graphs == [None, "a pool"]
    recorded.engine._work, recorded.engine._test_chunk = (
        recorded.engine._step,
        recorded.engine.single_view.evaluate_chunk,
    )
    list(recorded.steps())
    list(plainly.steps())
    assert same(weights(recorded), weights(plainly))
    keep = {"elapsed_s"}
    assert [p.model_dump(exclude=keep) for p in recorded.points] == [p.model_dump(exclude=keep) for p in plainly.points]


@WITH_AND_WITHOUT
def test_a_recording_goes_on_reading_the_same_tensors(images: Images, fp32: Compute, switches: dict[str, Any]) -> None:
    """Loading, stepping, evaluating: no tensor that a recording reads or writes is replaced."""
    t, other = (training(images, fp32, tiny_recipe(**switches)) for _ in range(2))

    def addresses() -> list[int]:
        e = t.engine
        rates = [group["lr"] for group in e.optimizer.param_groups]
        own = [e._lr, *rates, e.views._draws, e.single_view.start, e.single_view.totals]
        return [x.data_ptr() for x in [*e._changed(), *own]]

    before = addresses()
    list(other.steps())
    t.load_state_dict(other.state_dict())
    t.iteration = 0
    list(t.steps())
    t.engine.test_bn_reestimated(lambda: None)
    assert addresses() == before


def test_rate_and_iteration_on_the_device_follow_the_hosts(images: Images, fp32: Compute) -> None:
    engine = training(images, fp32, tiny_recipe(decay="weights")).engine
    assert len(engine.optimizer.param_groups) == 2
    for iteration, lr in ((0, 0.05), (1, 0.05), (2, 0.005), (7, 0.005), (8, 0.05)):
        engine.step(iteration, lr)
        assert engine._iteration == iteration + 1
        assert all(group["lr"] == torch.tensor(lr) for group in engine.optimizer.param_groups)


@pytest.mark.parametrize("failing", ["compiled", "captured"])
def test_without_compiler_or_graphs_it_falls_back_and_says_so(
    images: Images, fp32: Compute, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = training(images, fp32).engine
    monkeypatch.setattr(engine, "compute", Compute(device=torch.device("cuda"), precision="fp32"))

    def fail(*_: Any) -> None:
        raise RuntimeError("the driver says no\nand more")

    calls_set: list[stage.Call] = []
    monkeypatch.setattr(engine, "_set_call", calls_set.append)
    monkeypatch.setattr(engine, "_warm_up", fail if failing == "compiled" else lambda: None)
    monkeypatch.setattr(engine, "_capture", fail if failing == "captured" else lambda: None)
    engine._prepare()
    (note,) = engine.notes
    assert note.endswith("RuntimeError the driver says no")
    assert (failing in note) and engine.kernels == ("torch" if failing == "compiled" else "compiled")
    assert (calls_set[-1] is stage.plain) == (failing == "compiled")
    monkeypatch.undo()
    engine.step(0, 0.1)  # and it works


def test_memory_that_ends_while_preparing_is_no_reason_to_fall_back(
    images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = training(images, fp32).engine
    monkeypatch.setattr(engine, "compute", Compute(device=torch.device("cuda"), precision="fp32"))

    def fail() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine, "_warm_up", fail)
    with pytest.raises(torch.OutOfMemoryError):
        engine._prepare()


def step_of(arch: str, call: stage.Call) -> tuple[list[Tensor], list[Tensor]]:
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

    def held(call: stage.Call) -> int:
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


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler's own
@pytest.mark.parametrize("again", [False, True])
def test_the_number_of_compiled_graphs_does_not_grow_with_depth(again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five shapes of blocks: first and later stages, with and without a change of dimensions."""
    monkeypatch.setattr(fused, "_fused", False)
    numbers = []
    for arch in ("resnet20", "resnet56", "plain56"):
        torch._dynamo.reset()
        counter = CompileCounterWithBackend("aot_eager")
        with monkeypatch.context() as patched:
            patched.setattr(torch, "compile", partial(torch.compile, backend=counter))
            call = stage.compiled()
        compiled = step_of(arch, stage.activation_checkpointing(call) if again else call)
        numbers.append(counter.frame_count)
        plainly = step_of(arch, stage.plain)
        for a, b in zip([*compiled[0], *compiled[1]], [*plainly[0], *plainly[1]], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    assert numbers == [5 * (1 + again)] * 3


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


# ---- on a GPU


def cifar_like() -> Images:
    draw = np.random.default_rng(0)

    def part(n: int) -> tuple[Any, Any]:
        return draw.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), draw.integers(0, 10, n)

    return Images.from_numpy(*part(1000), *part(300), num_classes=10)


PAPER = {"batch_size": 128, "lr": 0.1, "crop_padding": 4, "lr_drop_iters": (18,), "total_iters": 24}


def losses(arch: str, compute: Compute, execution: Execution, iterations: int = 20) -> list[float]:
    with compute.stream():
        t = training(cifar_like(), compute, tiny_recipe(**PAPER), arch, execution)
        found = []
        for i in range(iterations):
            t.engine.step(i, 0.1)
            found.append(t.engine.totals().loss)
    return found


@pytest.mark.gpu
@pytest.mark.parametrize("arch", ["plain20", "resnet20", "resnet56"])
def test_first_losses_on_cuda_equal_the_cpus(arch: str, fp32: Compute) -> None:
    cpu, cuda = losses(arch, fp32, Execution()), losses(arch, choose("cuda", "fp32"), Execution())
    assert cuda == pytest.approx(cpu, rel=1e-4)


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
def test_recording_and_recomputing_change_no_bit_on_cuda(execution: Execution, precision: str) -> None:
    compute = choose("cuda", precision)
    assert losses("resnet20", compute, execution) == losses("resnet20", compute, Execution())


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
