"""What a CPU can prove of the CUDA step, and, marked `gpu`, what it cannot."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from resrepro.config.recipe import ScaleCrop
from resrepro.data.dataset import DataOptions, InputPipeline, mini_batch
from resrepro.data.image_files.listing import ImageFiles, ImageFolder
from resrepro.data.image_files.pipeline import ImageFilePipeline
from resrepro.data.in_memory.images import Images
from resrepro.data.in_memory.pipeline import InMemoryPipeline
from resrepro.evaluation.batch_norm import reestimated
from resrepro.models import build, stage
from resrepro.models.kernels import fused
from resrepro.runtime.device import Compute, Precision
from resrepro.training import cuda_graph
from resrepro.training.cuda_graph import capture
from resrepro.training.execution import Execution, Preparation
from resrepro.training.step import Engine, loss_and_sums
from support.recipes import tiny_recipe
from support.trainings import SWITCHED, AsOnCuda, same, training, weights


class OnlyCuda(TorchDispatchMode):
    """Fails where an operation touches a tensor of another device. (Fake tensors fail where the host reads one.)"""

    def __torch_dispatch__(self, f: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = f(*args, **(kwargs or {}))
        for x in tree_leaves((args, kwargs, found)):
            assert not isinstance(x, Tensor) or x.device.type == "cuda", f"{f} on {x.device}"
        return found


WITH_AND_WITHOUT = pytest.mark.parametrize("switches", [{}, SWITCHED], ids=["default", "switched"])


def in_memory(images: Images, device: torch.device) -> InputPipeline:
    return InMemoryPipeline(images, padding=tiny_recipe().crop_padding, device=device)


def of_files(_images: Images, device: torch.device) -> InputPipeline:
    """Files that are never read: nothing is loaded."""
    files = ImageFiles(folder="", names=np.array([b"a", b"b"]), labels=np.arange(2))
    tree = ImageFolder(train=files, test=files, classes=("a", "b"), place="")
    crop = ScaleCrop(size=8, shorter_side=(9, 12))
    mean = torch.zeros(8, 8, 3, device=device)
    return ImageFilePipeline(tree, crop, mean, DataOptions(data_dir=Path(), device=device))


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
    count, collected = torch.zeros(()), []

    def work() -> None:
        count.add_(1)
        collected.append(gc.isenabled())

    _, pool = capture(work, [count])
    assert count == 0 and pool == "a pool"
    assert collected == [True, True, True, False] and gc.isenabled()  # it might free another run's graph


@WITH_AND_WITHOUT
def test_recording_step_and_evaluation_changes_no_result(
    images: Images, fp32: Compute, switches: dict[str, Any], fake_graphs: list[Any]
) -> None:
    recorded, plainly = (training(images, fp32, tiny_recipe(**switches)) for _ in range(2))
    recorded.engine._capture()
    assert fake_graphs == [None, "a pool", *(["a pool"] if "bn_average_batches" in switches else [])]
    recorded.engine._work, recorded.engine._test_chunk = (
        recorded.engine._step,
        recorded.engine.single_view.evaluate_chunk,
    )
    recorded.engine._bn_forward = None
    list(recorded.steps())
    list(plainly.steps())
    assert same(weights(recorded), weights(plainly))
    keep = {"elapsed_s"}
    assert [p.model_dump(exclude=keep) for p in recorded.points] == [p.model_dump(exclude=keep) for p in plainly.points]


@pytest.mark.parametrize("bn_devices", [1, 2])
def test_averages_by_the_captured_forward_pass_are_those_of_the_net(
    images: Images, fp32: Compute, bn_devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = training(images, fp32, tiny_recipe(bn_average_batches=2, bn_devices=bn_devices)).engine
    engine.step(0, 0.1)
    # a graph that repeats the work
    monkeypatch.setattr(cuda_graph, "capture", lambda work, changed, pool: (work, pool))
    before = {k: v.clone() for k, v in engine.net.state_dict().items()}
    forward = engine._captured_bn_forward(None)
    assert same(before, engine.net.state_dict())
    compute, found = AsOnCuda(device=torch.device("cuda"), precision="fp32"), []
    for one in (None, forward):
        inputs = [part for i in (1, 2) for part in engine.mini_batch(i)[0].chunk(bn_devices)]
        with reestimated(engine.net, inputs, compute, one):
            found.append({k: v.clone() for k, v in engine.net.state_dict().items()})
    assert same(*found) and not same(before, found[0])


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
    t.engine.test_bn_averaged(t.iteration, 2)
    assert addresses() == before


def test_rate_and_iteration_on_the_device_follow_the_hosts(images: Images, fp32: Compute) -> None:
    engine = training(images, fp32, tiny_recipe(decay="weights")).engine
    assert len(engine.optimizer.param_groups) == 2
    for iteration, lr in ((0, 0.05), (1, 0.05), (2, 0.005), (7, 0.005), (8, 0.05)):
        engine.step(iteration, lr)
        assert engine._iteration == iteration + 1
        assert all(group["lr"] == torch.tensor(lr) for group in engine.optimizer.param_groups)


@pytest.mark.parametrize("source", [in_memory, of_files])
def test_mini_batch_and_loss_are_compiled_once_and_whole(
    images: Images, fp32: Compute, source: Callable[[Images, torch.device], InputPipeline], monkeypatch: Any
) -> None:
    """For all iterations of all runs whose tensors have the same shapes; in the compiler's front end alone."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    monkeypatch.setattr(stage, "OPTIONS", None)  # they are Inductor's
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter, fullgraph=True))
    recipe, compiled = tiny_recipe(), stage.compiled()
    for seed in range(2):
        pipeline = source(images, fp32.device)
        views = pipeline.views(recipe, seed)
        for i in (0, 1, 10 * len(images.train_labels) // recipe.batch_size):
            if source is in_memory:
                views.load(i)
            plainly = mini_batch(pipeline, views, torch.tensor(i))
            x, y = compiled(mini_batch, pipeline, views, torch.tensor(i))
            assert torch.equal(x, plainly[0]) and torch.equal(y, plainly[1])
            logits = torch.randn(len(y), 3, requires_grad=True)
            for ours, expected in zip(compiled(loss_and_sums, logits, y), loss_and_sums(logits, y), strict=True):
                assert torch.equal(ours, expected)
    assert counter.frame_count == 2


def take_for_cuda(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an engine take the CPU for a GPU, as it does when it begins."""
    monkeypatch.setattr(engine, "compute", Compute(device=torch.device("cuda"), precision="fp32"))
    monkeypatch.setattr("resrepro.training.execution.load_cuda_kernels", lambda device: None)


@pytest.mark.parametrize("failing", ["compiled", "captured"])
def test_without_compiler_or_graphs_it_falls_back_and_says_so(
    images: Images, fp32: Compute, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = training(images, fp32).engine
    take_for_cuda(engine, monkeypatch)

    def fail(*_: Any) -> None:
        raise RuntimeError("the driver says no\nand more")

    calls_set: list[stage.Call] = []
    monkeypatch.setattr(Preparation, "_set_call", lambda self, call: calls_set.append(call))
    monkeypatch.setattr(engine, "_warm_up", fail if failing == "compiled" else lambda: None)
    monkeypatch.setattr(engine, "_capture", fail if failing == "captured" else lambda: None)
    engine._prepare()
    (note,) = engine.notes
    assert note.endswith("RuntimeError the driver says no")
    assert (failing in note) and engine.kernels == ("torch" if failing == "compiled" else "compiled")
    assert (calls_set[-1] is stage.plain) == (failing == "compiled")
    monkeypatch.undo()
    engine.step(0, 0.1)  # and it works


def test_our_convolutions_are_used_in_bf16_where_they_run_and_else_it_says_so(
    images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepared(precision: Precision, load: Callable[[torch.device], None], **execution: bool) -> Engine:
        engine = training(images, fp32).engine
        take_for_cuda(engine, monkeypatch)
        monkeypatch.setattr(engine, "compute", Compute(device=torch.device("cuda"), precision=precision))
        monkeypatch.setattr(engine, "execution", Execution(**execution))
        monkeypatch.setattr("resrepro.training.execution.load_cuda_kernels", load)
        for work in ("_warm_up", "_capture"):
            monkeypatch.setattr(engine, work, lambda: None)
        engine._prepare()
        return engine

    def fail(_device: torch.device) -> None:
        raise ImportError("No module named 'triton'")

    assert prepared("bf16", lambda device: None).kernels == "triton"
    without = prepared("bf16", fail)
    assert without.kernels == "compiled"
    assert without.notes == [
        "slower, because our own convolutions cannot be used: ImportError No module named 'triton'"
    ]
    for precision, execution in (("fp32", {}), ("tf32", {}), ("bf16", {"cuda_graph": False})):
        other = prepared(precision, fail, **execution)  # never loads them
        assert (other.kernels, other.notes) == ("compiled", [])


def test_our_cuda_kernels_are_not_used_after_a_device_on_which_they_fail() -> None:
    pytest.importorskip("triton")
    fused._cuda = True  # as after another device
    with pytest.raises((RuntimeError, ValueError)):
        fused.load_cuda_kernels(torch.device("cpu"))  # Triton has no driver for it
    assert not fused._cuda


@pytest.mark.parametrize(
    "cause",
    [subprocess.CalledProcessError(1, ["gcc", "cuda_utils.c"]), RuntimeError("Failed to find C compiler.")],
    ids=["no Python.h", "no gcc"],
)
def test_what_triton_lacks_is_named(
    images: Images, fp32: Compute, cause: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = training(images, fp32).engine
    take_for_cuda(engine, monkeypatch)

    def fail() -> None:
        raise RuntimeError("Inductor failed") from cause

    monkeypatch.setattr(engine, "_warm_up", fail)
    monkeypatch.setattr(engine, "_capture", lambda: None)
    engine._prepare()
    assert engine.notes[0].endswith(
        "Inductor failed; Triton needs gcc and the headers of Python (Debian: gcc, python3-dev)"
    )


def test_memory_that_ends_while_preparing_is_no_reason_to_fall_back(
    images: Images, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = training(images, fp32).engine
    take_for_cuda(engine, monkeypatch)

    def fail() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    def fail_in_a_capture() -> None:
        try:
            fail()
        finally:
            raise torch.AcceleratorError("CUDA error: operation failed due to a previous error during capture")

    for failing in (fail, fail_in_a_capture):
        monkeypatch.setattr(engine, "_warm_up", failing)
        with pytest.raises(torch.OutOfMemoryError):
            engine._prepare()
    assert engine.notes == []
