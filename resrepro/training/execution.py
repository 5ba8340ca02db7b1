"""Choose how a device computes the step: its kernels, the compiler, a CUDA graph. What it lacks is a note, no error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from resrepro.errors import first_line
from resrepro.evaluation.responses import layers_3x3
from resrepro.models import stage
from resrepro.models.blocks import Block
from resrepro.models.kernels.fused import load_cuda_kernels, load_kernels, use_cudnn
from resrepro.results.records import Kernels
from resrepro.runtime.device import Compute, missing_compiler, out_of_memory_cause
from resrepro.runtime.distributed import World


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Says how a step is computed, where the device can. Only other kernels change a result, by rounding.

    Args:
        compiled: on CUDA, torch's compiler fuses the elementwise work of each block: other kernels.
        cuda_graph: on CUDA, the step is captured as one CUDA graph, in bf16 with our own convolutions: other kernels.
        activation_checkpointing: a block's inner activations are computed twice, not kept: less memory.
    """

    compiled: bool = True
    cuda_graph: bool = True
    activation_checkpointing: bool = False


FASTEST = Execution()


class Preparation:
    """Prepares a net for its steps, in the fastest way that works on the device.

    `kernels` says which compute its blocks. `call` is how to call what else a step computes. `notes` are lines for the
    user, such as what the machine lacks to be as fast as it could be.

    Args:
        net: is on the device already.
    """

    def __init__(self, net: nn.Module, compute: Compute, execution: Execution, world: World) -> None:
        self.net, self.compute, self.execution, self.world = net, compute, execution, world
        self.call: stage.Call = stage.plain
        self.kernels: Kernels = "torch"
        self.notes: list[str] = []

    def choose_kernels(self, warm_up: Callable[[], None]) -> None:
        """Choose how a step calls its parts, and by which kernels; where `warm_up` fails, torch's are used.

        Args:
            warm_up: computes the gradients once and changes nothing: all is compiled at the first call.
        """
        call: stage.Call = stage.plain
        if not any(isinstance(module, Block) for module in self.net.modules()):
            self._note_other_code()
        elif self.compute.device.type == "cpu":
            reason = load_kernels()
            if reason is not None:
                self.notes.append(f"a quarter slower, because our own kernels cannot be used: {reason}")
            self.kernels = "fused" if reason is None else "torch"
        elif self.execution.compiled:
            call = stage.compiled()
            self.kernels = self._compiled_kernels()
        if self.execution.activation_checkpointing:
            self.notes.append("a third slower: free memory does not hold all activations, so some are computed twice")
        self._set_call(call)
        if call is not stage.plain and not self._tried(warm_up, "slower, because nothing is compiled"):
            self.kernels = "torch"
            use_cudnn()
            self._set_call(stage.plain)

    def capture(self, capture: Callable[[], None]) -> None:
        """Call `capture`, which captures the step as a CUDA graph, on CUDA and in a single process."""
        if self.compute.device.type != "cuda":
            return
        if self.world.size > 1:
            self.notes.append("the step is not captured as a CUDA graph, because several processes share it")
        elif self.execution.cuda_graph:
            self._tried(capture, "slower, because the step is not captured as a CUDA graph")

    def _note_other_code(self) -> None:
        self.notes.append("layers are called plainly, for our kernels and the compiler know only nets of this package")
        unknown = sum(layer.bn is None for layer in layers_3x3(self.net))
        if unknown:
            self.notes.append(f"no responses of {unknown} 3x3 layer(s): no BN is named after them, as bn2 after conv2")

    def _compiled_kernels(self) -> Kernels:
        """Choose the convolutions of compiled blocks: ours in bf16, where the step is captured.

        Elsewhere the host launches each kernel, for which ours take longer. On AMD they were not measured.
        """
        captured = self.world.size == 1 and self.execution.cuda_graph
        wanted = self.compute.precision == "bf16" and captured and torch.version.hip is None
        otherwise = "slower, because our own convolutions cannot be used"
        if wanted and self._tried(partial(load_cuda_kernels, self.compute.device), otherwise):
            return "triton"
        use_cudnn()
        return "compiled"

    def _set_call(self, call: stage.Call) -> None:
        self.call = call
        stage.set_block_call(
            self.net, stage.activation_checkpointing(call) if self.execution.activation_checkpointing else call
        )

    def _tried(self, work: Callable[[], None], otherwise: str) -> bool:
        failed = False
        try:
            work()
        except Exception as error:  # whatever a compiler or driver does not like
            if full := out_of_memory_cause(error):  # a capture then ends with another error than its own
                raise full from None
            self.notes.append(f"{otherwise}: {type(error).__name__} {first_line(error)}{missing_compiler(error)}")
            failed = True
        return not self.world.all_reduce_max(failed)
