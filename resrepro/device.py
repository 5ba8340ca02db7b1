"""Where and in which precision to compute."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from resrepro.errors import UserError

Precision = Literal["auto", "fp32", "tf32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class Compute:
    """A device and a precision that it has. Weights, BN statistics and loss are fp32 in each of them."""

    device: torch.device
    precision: Literal["fp32", "tf32", "bf16"]

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def name(self) -> str:
        """The device as a person knows it, such as `NVIDIA H200`."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return _cpu_name()


def choose(device: str, precision: str) -> Compute:
    """`auto` is CUDA where there is one; `auto` precision is bf16 where the device computes in it.

    Raises:
        UserError: no such device here, or a precision that it lacks.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"--device {device}: expected auto, cpu, cuda or cuda:N") from error
    if chosen.type not in ("cpu", "cuda"):
        raise UserError(f"--device {device}: expected auto, cpu, cuda or cuda:N")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device {device}: {torch.cuda.device_count()} CUDA device(s) here; use --device cpu, or auto"
        )
    found = _precision(chosen, precision)
    if chosen.type == "cuda":
        tf32 = found != "fp32"
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
    else:
        _keep_freed_memory()
    return Compute(device=chosen, precision=found)


@contextmanager
def out_of_memory(compute: Compute, what: str) -> Iterator[None]:
    """Turns whatever torch raises when memory ends into one line that says what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        signs = ("can't allocate memory", "ALLOC_FAILED", "out of memory")
        if not isinstance(error, MemoryError) and not any(sign in str(error) for sign in signs):
            raise
        raise UserError(
            f"{what}: out of memory on {compute.name}; the mini-batch belongs to the recipe, so lower the rest: "
            "--precision bf16, fewer programs beside it, or a shallower net"
        ) from error


def _precision(device: torch.device, precision: str) -> Literal["fp32", "tf32", "bf16"]:
    has_bf16 = _cpu_has_bf16() if device.type == "cpu" else torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "auto":
        return "bf16" if has_bf16 else "fp32"
    if precision == "fp32":
        return "fp32"
    if precision == "bf16":
        if not has_bf16:
            raise UserError(f"--precision bf16: this {device.type} does not compute in bf16; use fp32, or auto")
        return "bf16"
    if precision == "tf32":
        if device.type == "cpu":
            raise UserError("--precision tf32: only CUDA devices have it; use fp32, bf16 or auto")
        return "tf32"
    raise UserError(f"--precision {precision}: expected auto, fp32, tf32 or bf16")


def _cpu_has_bf16() -> bool:
    """Whether convolutions run on bf16 instructions; emulated, they are slower than fp32."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _keep_freed_memory() -> None:
    """Tells glibc to keep what tensors free for the next step, not to hand it to the kernel page by page.

    Measured: without it a step of ResNet-20 takes 7,000 page faults and 10 % more time.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, 2**31 - 1)


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor() or platform.machine()} (CPU)"
