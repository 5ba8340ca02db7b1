"""Capture work as a CUDA graph, which the host launches as a whole."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from resrepro.models.stage import restoring

WARM_UP_CALLS = 3  # libraries choose their kernels and reserve their memory before the capture


def capture(work: Callable[[], object], changed: Sequence[Tensor], pool: Any = None) -> tuple[Callable[[], None], Any]:
    """Capture `work` on the current CUDA stream, which must not be the default one.

    Args:
        work: reads nothing on the host, and changes no tensor but its own and `changed`.
        changed: tensors that the work changes; they are left as they were.
        pool: memory of an earlier graph, to be shared; the two are never replayed at once.

    Returns:
        A function that repeats the work, in one launch; and the memory pool of the graph.
    """
    with restoring(changed):
        for _ in range(WARM_UP_CALLS):
            work()
        graph = torch.cuda.CUDAGraph()
        # thread_local: other runs go on in their own threads
        stream = torch.cuda.current_stream()
        with (
            _no_garbage_collection(),
            torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"),
        ):
            work()
    return graph.replay, graph.pool()


def captured_call(work: Callable[[Tensor], object], example: Tensor, pool: Any) -> Callable[[Tensor], None]:
    """Capture a call, and return a function that repeats it on inputs of the shape of `example`; restore nothing."""
    inputs = example.clone()
    replay = capture(lambda: work(inputs), [], pool)[0]

    def call(x: Tensor) -> None:
        inputs.copy_(x)
        replay()

    return call


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Free no graph of an earlier run meanwhile: that would end the capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
