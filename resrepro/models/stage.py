"""Choose how a training step calls its parts, a net's blocks above all: plainly, compiled, or computed again.

None of them changes what is computed: `compiled` rounds differently, `activation_checkpointing` does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol, TypeVar, TypeVarTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Args = TypeVarTuple("Args")
Result = TypeVar("Result")
BlockCall = Callable[[nn.Module, Tensor], Tensor]
OPTIONS: dict[str, Any] = {"combo_kernels": True}  # independent small kernels are one: fewer launches


class Call(Protocol):
    """Calls a block, or another function."""

    def __call__(self, function: Callable[[*Args], Result], *args: *Args) -> Result: ...


def plain(function: Callable[[*Args], Result], *args: *Args) -> Result:
    """Call the function."""
    return function(*args)


def compiled() -> Call:
    """Compile what is called. Blocks of one shape share a graph, so the compile time does not grow with depth."""
    graphs: Call = torch.compile(plain, dynamic=False, options=OPTIONS)

    def call(function: Callable[[*Args], Result], *args: *Args) -> Result:
        # By default torch compiles at most 8 graphs of a function, but the paper's experiments need 65. Past the limit
        # it would call the function as it is, slowly; here it raises, and a note says so. Set at each call: these are
        # settings of the thread, and on CUDA the backward pass has a thread of its own.
        torch._dynamo.config.recompile_limit = 256
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        return graphs(function, *args)

    return call


def activation_checkpointing(call: BlockCall) -> BlockCall:
    """Keep a block's input only, and call the block once more when its gradient is needed: less memory, more time."""

    def again(block: nn.Module, x: Tensor) -> Tensor:
        y: Tensor = checkpoint(
            call, block, x, use_reentrant=False, preserve_rng_state=False, context_fn=partial(_contexts, block)
        )
        return y

    return again


@contextmanager
def calling_blocks_by(net: nn.Module, call: BlockCall) -> Iterator[None]:
    """Let all stages of the net train by `call`, and afterwards as before."""
    stages = [module for module in net.modules() if isinstance(module, Stage)]
    kept = [stage.call for stage in stages]
    set_block_call(net, call)
    try:
        yield
    finally:
        for stage, before in zip(stages, kept, strict=True):
            stage.call = before


@contextmanager
def restoring(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Give tensors afterwards the values that they had before."""
    kept = [t.detach().clone() for t in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, before in zip(tensors, kept, strict=True):
                tensor.copy_(before)


@contextmanager
def mode(net: nn.Module, *, training: bool) -> Iterator[None]:
    """Put the net in training mode or in inference mode, and afterwards back in the mode it was in."""
    before = net.training
    net.train(training)
    try:
        yield
    finally:
        net.train(before)


def set_block_call(net: nn.Module, call: BlockCall) -> None:
    """Let all stages of the net call their blocks by `call` in training."""
    for module in net.modules():
        if isinstance(module, Stage):
            module.call = call


class Stage(nn.Sequential):
    """Computes blocks one after the other. `call` is how each is called in training; evaluation calls it plainly."""

    call: BlockCall = staticmethod(plain)

    def forward(self, x: Tensor) -> Tensor:
        call = self.call if self.training and torch.is_grad_enabled() else plain
        for block in self:
            x = call(block, x)
        return x


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _already_seen(block)


@contextmanager
def _already_seen(block: nn.Module) -> Iterator[None]:
    """Let BN leave its moving averages alone: they had this mini-batch when the block was called first."""
    layers = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [(bn.momentum, bn.num_batches_tracked) for bn in layers]
    for bn in layers:
        bn.momentum, bn.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for bn, (momentum, tracked) in zip(layers, kept, strict=True):
            bn.momentum, bn.num_batches_tracked = momentum, tracked
