"""What bounds a step on this machine: its operations at the rate of a matrix product, its bytes at that of a copy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from resrepro.models.complexity import Complexity
from resrepro.runtime.device import Compute

# How often a step reads or writes each activation kept for the gradient, and its gradient. A convolution's output:
# written, read by BN, read twice by BN's gradient (first for its sums); its gradient written, and read for that of
# weights and input. BN's output: written, read by the next convolution, by the gradient of its weights and by ReLU's;
# its gradient written, and read twice.
PASSES = 7
MATMUL_SIDE = {"cpu": 2048, "cuda": 8192}
COPY_BYTES = {"cpu": 2**28, "cuda": 2**32}  # at most: a quarter of what is free


@dataclass(frozen=True, kw_only=True)
class MachineRates:
    """Measured: FLOP/s of a large square matrix product in the precision; bytes/s read and written by a large copy."""

    matmul_flops: float
    copy_bytes: float

    def roofline_s(self, counts: Complexity, batch_size: int, precision: str) -> tuple[float, float]:
        """Return the seconds of one training step for its operations alone, and for its bytes alone.

        Caches beat the second: a small net's activations need not go to memory and back.
        """
        flops = 3 * 2 * counts.num_multiply_adds * batch_size  # forward, and the gradients of input and weights
        moved = PASSES * counts.num_activations * batch_size * (2 if precision == "bf16" else 4)
        return flops / self.matmul_flops, moved / self.copy_bytes


def measure_rates(compute: Compute) -> MachineRates:
    """Measure what a machine can do, and leave its memory to the processes that are timed next."""
    rates = _measure(compute)
    if compute.device.type == "cuda":
        torch.cuda.empty_cache()
    return rates


def _measure(compute: Compute) -> MachineRates:
    kind = torch.bfloat16 if compute.precision == "bf16" else torch.float32
    side = MATMUL_SIDE[compute.device.type]
    a = torch.randn(side, side, device=compute.device, dtype=kind)
    matmul_s = _median_s(lambda: a @ a, compute)
    num_bytes = min(COPY_BYTES[compute.device.type], (compute.free_bytes() or 2**30) // 4)
    source = torch.zeros(num_bytes, dtype=torch.uint8, device=compute.device)
    target = torch.zeros_like(source)
    copy_s = _median_s(lambda: target.copy_(source), compute)
    return MachineRates(matmul_flops=2 * side**3 / matmul_s, copy_bytes=2 * num_bytes / copy_s)


def _median_s(work: Callable[[], object], compute: Compute) -> float:
    times = []
    for _ in range(12):
        start = time.perf_counter()
        work()
        compute.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])
