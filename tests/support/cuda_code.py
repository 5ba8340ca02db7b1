"""Let Inductor write its code for parts of a step on an H100, without a GPU, and run it in Triton's interpreter.

A part is traced on the CPU, and its graph lowered for cuda:0. What a GPU would say of itself is declared here, and
that cuDNN returns channels-last tensors. A process that did this cannot use a real GPU any more, so tests start one:

    python -m support.cuda_code resnet20 ends                      kernels of two blocks, mini-batch and loss, as JSON
    TRITON_INTERPRET=1 python -m support.cuda_code resnet20 ends   how far their results are from eager
"""

from __future__ import annotations

import copy
import importlib.util
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch._dynamo.device_interface as device_interface
import torch._inductor.config as inductor_config
import torch._inductor.scheduler
import torch._inductor.utils
import torch._subclasses.fake_impls as fake_impls
import torch.utils._triton
import triton
import triton.language as tl
from torch import Tensor, nn
from torch._functorch.aot_autograd import aot_function
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch._inductor.compile_fx import view_to_reshape
from torch._inductor.debug import DebugContext
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.fx_passes.joint_graph import joint_graph_passes
from torch._inductor.fx_passes.post_grad import post_grad_passes
from torch._inductor.graph import GraphLowering
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx import GraphModule
from torch.fx.operator_schemas import normalize_function
from torch.fx.passes.fake_tensor_prop import FakeTensorProp
from triton.backends.compiler import GPUTarget

from resrepro.data.dataset import mini_batch
from resrepro.data.in_memory.pipeline import InMemoryPipeline
from resrepro.models import build
from resrepro.models.kernels import conv3x3_cuda, fused
from resrepro.models.stage import OPTIONS, Stage
from resrepro.training.step import loss_and_sums
from support.recipes import tiny_recipe
from support.trainings import cifar_like

CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)
INTERPRET = os.environ.get("TRITON_INTERPRET") == "1"
H100 = SimpleNamespace(
    name="NVIDIA H100", major=9, minor=0, multi_processor_count=132, total_memory=80 * 2**30, warp_size=32,
    regs_per_multiprocessor=65536, max_threads_per_multi_processor=2048, max_threads_per_block=1024,
    shared_memory_per_block=49152, shared_memory_per_block_optin=232448, shared_memory_per_multiprocessor=233472,
    L2_cache_size=50 * 2**20, gcnArchName="", is_integrated=0,
)  # fmt: skip


class Driver:
    """What Triton asks of a GPU's driver while Inductor writes code."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda:0")


def pretend_gpu() -> None:
    """Let Inductor find an H100."""
    cuda: Any = device_interface.CudaInterface
    for place in (cuda, cuda.Worker):
        place.get_device_properties = staticmethod(lambda device=None: H100)
        place.current_device = staticmethod(lambda: 0)
    cuda.is_available = staticmethod(lambda: True)
    cuda.device_count = staticmethod(lambda: 1)
    cuda.get_compute_capability = staticmethod(lambda device=None: 90)
    cuda.raise_if_triton_unavailable = staticmethod(lambda device=None: None)
    cuda.is_triton_capable = staticmethod(lambda device=None: True)
    torch_cuda: Any = torch.cuda
    torch_cuda.get_device_properties = lambda device=None: H100
    torch_cuda.get_device_capability = lambda device=None: (9, 0)
    torch_cuda.current_device = lambda: 0
    for module in (torch._inductor.scheduler, torch._inductor.utils, torch.utils._triton):
        if hasattr(module, "has_triton"):
            module.has_triton = lambda *_, **__: True
    triton.runtime.driver.set_active(Driver())
    if not INTERPRET:  # blocks are traced on the CPU, and nothing reads what they return
        conv3x3_cuda.conv3x3.register_kernel("cpu")(lambda x, weight: torch.empty_like(x))
        conv3x3_cuda.input_gradient.register_kernel("cpu")(lambda gradient, weight: torch.empty_like(gradient))
        conv3x3_cuda.weight_gradient.register_kernel("cpu")(empty_weight_gradient)
    fused._on_cuda = lambda x: True
    for op in CONVOLUTIONS:
        fake_impls.op_implementations_dict[op] = channels_last_convolution
    inductor_config.fx_graph_cache = False
    inductor_config.compile_threads = 1  # processes of its own would compile what it writes


def channels_last_convolution(mode: FakeTensorMode, op: Any, *args: Any, **kwargs: Any) -> Any:
    """Return what cuDNN does, without its numbers: the maps of a convolution, or its gradients, in channels-last."""
    _, named = normalize_function(op, args=args, kwargs=kwargs, normalize_to_only_use_kwargs=True)  # type: ignore[misc]
    device = named["input"].device
    with fake_impls.in_kernel_invocation_manager(mode):
        out = op(**named)

    def wrapped(t: Tensor | None) -> FakeTensor | None:
        return None if t is None else FakeTensor(mode, t.to(memory_format=torch.channels_last), device)

    return wrapped(out) if isinstance(out, Tensor) else tuple(t if t is None or t.ndim < 4 else wrapped(t) for t in out)


def empty_weight_gradient(x: Tensor, _gradient: Tensor) -> Tensor:
    return torch.empty(x.shape[1], 3, 3, x.shape[1]).permute(0, 3, 1, 2)


def block_call(block: nn.Module, precision: str) -> Callable[..., Tensor]:
    """Return what computes a block from its parameters, its buffers and its input."""
    names = [name for name, _ in (*block.named_parameters(), *block.named_buffers())]

    def call(*values: Tensor) -> Tensor:
        state = dict(zip(names, values[:-1], strict=True))
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
            y: Tensor = torch.func.functional_call(block, state, (values[-1],))
        return y

    return call


def mini_batch_call() -> tuple[Callable[..., Any], list[Tensor]]:
    """Return what cuts mini-batch 5 of a small dataset, with all tensors that it reads."""
    pipeline = InMemoryPipeline(cifar_like(), padding=4, device=torch.device("cpu"))
    views = pipeline.views(tiny_recipe(batch_size=128), seed=0)
    views.load(5)
    held = [(part, name) for part in (views, pipeline) for name, t in vars(part).items() if isinstance(t, Tensor)]

    def call(iteration: Tensor, *tensors: Tensor) -> Any:
        for (part, name), tensor in zip(held, tensors, strict=True):
            setattr(part, name, tensor)
        return mini_batch(pipeline, views, iteration)

    return call, [torch.tensor(5), *(getattr(part, name) for part, name in held)]


def generated(call: Callable[..., Any], inputs: Sequence[Tensor], options: dict[str, Any]) -> list[str]:
    """Return the code of a call, and that of its backward pass where its first output has a gradient."""
    traced: list[tuple[GraphModule, list[Tensor]]] = []

    def keep(graph: GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        traced.append((graph, list(inputs)))
        return graph.forward

    def partition(graph: GraphModule, inputs: Any, **kwargs: Any) -> Any:
        joint_graph_passes(graph)
        return min_cut_rematerialization_partition(graph, inputs, compiler="inductor", **kwargs)

    compiled = aot_function(
        call, keep, keep, partition, decompositions=select_decomp_table(), keep_inference_input_mutations=True
    )
    outputs = compiled(*inputs)
    first = outputs if isinstance(outputs, Tensor) else outputs[0]
    if first.requires_grad:
        first.sum().backward()
    with inductor_config.patch(options):
        return [lowered(graph, inputs, is_backward=i == 1) for i, (graph, inputs) in enumerate(traced)]


def lowered(graph: GraphModule, inputs: list[Tensor], *, is_backward: bool) -> str:
    """Return Inductor's code for a graph on cuda:0."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        fakes = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="cuda:0") for t in inputs]
    for node in graph.graph.nodes:
        if "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": torch.device("cuda:0")}
    graph.recompile()
    view_to_reshape(graph)
    FakeTensorProp(graph, mode=mode).propagate_dont_convert_inputs(*fakes)
    with V.set_fake_mode(mode):
        post_grad_passes(graph, is_inference=False)
    FakeTensorProp(graph, mode=mode).propagate_dont_convert_inputs(*fakes)
    lowering = GraphLowering(
        graph, example_inputs=fakes, is_backward=is_backward, is_inference=False,
        layout_opt=GraphLowering.decide_layout_opt(graph, is_inference=False),
    )  # fmt: skip
    with V.set_graph_handler(lowering), V.set_fake_mode(mode), DebugContext():
        lowering.run(*fakes)
        return lowering.codegen()[0].value


def launches(code: str) -> list[str]:
    """Return the Triton kernels that the code launches, in order, and `convolution` for each of cuDNN or of ours."""
    body = code[code.index("def call(") :]
    convolution = (
        r"extern_kernels\.convolution\(|aten\.convolution_backward\.default\(|resrepro\.conv3x3_\w+\.default\("
    )
    found = re.finditer(rf"(triton_\w+)\.run\(|({convolution})", body)
    return [match[1] or "convolution" for match in found]


def num_layout_copies(code: str) -> int:
    """Return how many launched kernels are transposes: only those have a second axis of blocks."""
    tiled = set(re.findall(r"def (triton_\w+)\([^)]*YBLOCK", code))
    return sum(name in tiled for name in launches(code))


@triton.jit
def rsqrt(x):  # type: ignore[no-untyped-def]
    return tl.rsqrt(x)


@triton.jit
def exp(x):  # type: ignore[no-untyped-def]
    return tl.exp(x)


@triton.jit
def log(x):  # type: ignore[no-untyped-def]
    return tl.log(x)


class Interpreted:
    """Runs a generated kernel in Triton's interpreter.

    Args:
        meta: is filled with what the code tells Inductor's launcher.
    """

    def __init__(self, name: str, source: str, folder: Path) -> None:
        self.meta: dict[str, Any] = {}
        path = folder / f"{name}.py"  # the interpreter reads a kernel's source from its file
        path.write_text(
            source.replace("triton_helpers.set_driver_to_gpu()", "").replace("@triton_heuristics.", "@launcher.")
        )
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        module.launcher = SimpleNamespace(
            pointwise=self._about, reduction=self._about, persistent_reduction=self._about
        )
        spec.loader.exec_module(module)
        module.libdevice = SimpleNamespace(rsqrt=rsqrt, exp=exp, log=log)  # CUDA's library of functions is not on a CPU
        self.kernel = getattr(module, name)

    def _about(self, **meta: Any) -> Callable[[Any], Any]:
        self.meta = meta
        return lambda kernel: kernel

    def run(self, *args: Any, stream: object) -> None:
        """Launch the kernel with blocks that divide its work, as Inductor's do."""
        signature = self.meta["triton_meta"]["signature"]
        combined = self.meta["inductor_meta"].get("combo_grid_meta")
        if combined:
            numels = [combined[f"xnumel_{i}"] for i in range(combined["num_kernels"])]
        else:
            names = [name for name in signature if name.endswith("numel")]
            numels = [dict(zip(names, (a for a in args if isinstance(a, int)), strict=True))["xnumel"]]
        most = 1024 if "R0_BLOCK" not in signature else 64
        sizes = {"XBLOCK": math.gcd(max(numels), most), "R0_BLOCK": 128}
        sizes = {name: size for name, size in sizes.items() if name in signature}
        grid = sum(-(-numel // sizes["XBLOCK"]) for numel in numels)
        self.kernel[(grid,)](*args, **sizes)


def interpreted(code: str, folder: Path) -> Callable[[list[Any]], tuple[Any, ...]]:
    """Return the function that the code defines, on the CPU: cuDNN's calls are torch's, Triton's are interpreted."""
    for gpu, cpu in {
        "async_compile = AsyncCompile()": "async_compile = interpreter",
        "async_compile.wait(globals())": "",
        "torch._C._dynamo.guards._empty_strided_cuda": "torch._C._dynamo.guards._empty_strided_cpu",
        "from torch._C import _cuda_getCurrentRawStream as get_raw_stream": "get_raw_stream = int",
        "with torch.cuda._DeviceGuard(0):": "if True:",
        "torch.cuda.set_device(0)": "pass",
    }.items():
        assert gpu in code, gpu
        code = code.replace(gpu, cpu)
    interpreter = SimpleNamespace(triton=lambda name, source, **_: Interpreted(name, source, folder))
    module: dict[str, Any] = {"interpreter": interpreter, "__file__": "generated", "__name__": "generated"}
    exec(code, module)
    call: Callable[[list[Any]], tuple[Any, ...]] = module["call"]
    return call


def distances(block: nn.Module, x: Tensor, folder: Path) -> dict[str, float]:
    """Return how far the generated code, in fp32, is from eager: output, BN's averages and gradients.

    Each is the largest difference over the largest value.
    """
    ours, eager = copy.deepcopy(block), copy.deepcopy(block)
    forward, backward = generated(block_call(block, "fp32"), [*block.parameters(), *block.buffers(), x], OPTIONS)
    y, *saved = interpreted(forward, folder)([*(p.detach() for p in ours.parameters()), *ours.buffers(), x.detach()])
    x = x.detach().requires_grad_()
    expected = eager(x)
    gradient = torch.randn_like(expected)
    expected.backward(gradient)
    gradients = [g for g in interpreted(backward, folder)([*saved, gradient]) if g is not None]
    buffers = dict(eager.named_buffers())
    pairs = {"output": (y, expected.detach()), "gradient of x": (gradients.pop(), x.grad)}
    pairs |= {name: (average, buffers[name]) for name, average in ours.named_buffers()}
    for (name, p), g in zip(eager.named_parameters(), gradients, strict=True):
        pairs[f"gradient of {name}"] = g, p.grad
    return {name: distance(a, b) for name, (a, b) in pairs.items()}


def distance(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).abs().max() / b.abs().max())


def num_kernels(codes: list[str]) -> dict[str, Any]:
    """Return how many kernels the codes launch: Triton's, and convolutions; and which of them are transposes."""
    return {
        "kernels": [sum(k != "convolution" for k in launches(code)) for code in codes],
        "convolutions": [launches(code).count("convolution") for code in codes],
        "layout copies": sum(map(num_layout_copies, codes)),
    }


def of_ends(folder: Path | None) -> dict[str, Any]:
    """Return what is found for what lies before and after the net; `folder` is for the interpreter."""
    cut, inputs = mini_batch_call()
    logits, labels = torch.randn(128, 10), torch.randint(0, 10, (128,))
    if folder is None:
        codes = generated(loss_and_sums, [logits.bfloat16().requires_grad_(), labels], OPTIONS)
        return {"mini-batch": num_kernels(generated(cut, inputs, OPTIONS)), "loss": num_kernels(codes)}
    x, y = interpreted(generated(cut, inputs, OPTIONS)[0], folder)(list(inputs))
    expected = cut(*inputs)
    forward, backward = generated(loss_and_sums, [logits.clone().requires_grad_(), labels], OPTIONS)
    loss, sums, *saved = interpreted(forward, folder)([logits, labels])
    eager = logits.clone().requires_grad_()
    expected_loss, expected_sums = loss_and_sums(eager, labels)
    expected_loss.backward()
    gradient = interpreted(backward, folder)([*saved, torch.ones(())])[0]
    return {
        "mini-batch": {"inputs": distance(x, expected[0]), "labels": distance(y, expected[1])},
        "loss": {
            "loss": distance(loss, expected_loss.detach()),
            "sums": distance(sums, expected_sums),
            "gradient": distance(gradient, eager.grad),
        },
    }


def of_blocks(arch: str, folder: Path | None) -> dict[str, Any]:
    """Return what is found for the second block of the first stage, and for the first of the second, with stride 2."""
    net = build(arch, num_classes=10).to(memory_format=torch.channels_last).train()
    stages = [module for module in net.modules() if isinstance(module, Stage)]
    batch, side = (128, 32) if net.conv1.stride == (1, 1) else (32, 56)
    found = {}
    for name, block in (("identity", stages[0][1]), ("stride 2", stages[1][0])):
        x = torch.randn(2 if folder else batch, block.conv1.in_channels, side, side).to(
            memory_format=torch.channels_last
        )
        if folder:
            found[name] = distances(block, x.requires_grad_(), folder)
        else:
            inputs = [*block.parameters(), *block.buffers(), x.bfloat16().requires_grad_()]
            found[name] = num_kernels(generated(block_call(block, "bf16"), inputs, OPTIONS))
    return found


def main(*parts: str) -> None:
    """Print what is found."""
    torch.manual_seed(0)
    pretend_gpu()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) if INTERPRET else None
        for part in parts:
            found |= of_ends(place) if part == "ends" else of_blocks(part, place)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
