"""Choose the device and the precision to compute in, and turn the device's errors into one line."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

import torch
from torch import nn

from resrepro.errors import UserError, first_line
from resrepro.runtime import machine

Precision = Literal["fp32", "tf32", "bf16"]
Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Describes a device and a precision that it has. Weights, BN statistics and loss are fp32 in every precision."""

    device: torch.device
    precision: Precision

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context in which convolutions and fc compute in the precision."""
        enabled = self.precision == "bf16"
        # no cache: each weight is used once a step, and a captured graph must not read what was cast before it
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Run this thread's work in a CUDA stream of its own, beside that of other threads."""
        if self.device.type == "cpu":
            yield
            return
        with torch.cuda.device(self.device), torch.cuda.stream(_stream(self.device, threading.get_ident())):
            yield

    def move(self, net: Net) -> Net:
        """Move a net to the device, its weights channels-last."""
        return net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def free_bytes(self) -> int | None:
        """Return the memory that a run may take now, bytes; None where the system does not say."""
        if self.device.type == "cuda":
            return torch.cuda.mem_get_info(self.device)[0]
        return machine.available_bytes()

    @property
    def name(self) -> str:
        """Return the device's name, such as `NVIDIA H200`."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return machine.cpu_name()


def choose(device: str, precision: str) -> Compute:
    """Choose a device and a precision, and set the process for them.

    On CUDA whether TF32 is allowed, and deterministic convolutions of cuDNN; on a CPU that freed memory is kept, and
    that there are no more threads than cores, unless OMP_NUM_THREADS says how many.

    Args:
        device: `auto` is CUDA where there is a GPU, else the CPU; `cpu`, `cuda`, `cuda:N`.
        precision: `auto` is bf16 where the device computes in it, else fp32; `fp32`, `tf32`, `bf16`.

    Raises:
        UserError: the machine has no such device, or the device lacks the precision.
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
        torch.backends.cudnn.deterministic = True  # so that resuming is exact
    else:
        _keep_freed_memory()
        if "OMP_NUM_THREADS" not in os.environ:  # torch does not know the limit of a container
            torch.set_num_threads(min(torch.get_num_threads(), machine.num_cores()))
    return Compute(device=chosen, precision=found)


def spread(device: str) -> list[str]:
    """Return the devices that runs are spread over: each GPU for `auto` and `cuda`, those that are named, or the CPU.

    Args:
        device: as for `choose`, or several GPUs: `cuda:0,cuda:2`.

    Raises:
        UserError: one of several is no GPU, is not there, or is named twice.
    """
    num_gpus = torch.cuda.device_count()
    if device in ("auto", "cuda") and num_gpus > 1:
        return [f"cuda:{index}" for index in range(num_gpus)]
    names = [name.strip() for name in device.split(",")]
    if len(names) > 1:
        for name in names:
            if not re.fullmatch(r"cuda:\d+", name):
                raise UserError(f"--device {device}: expected several GPUs, such as cuda:0,cuda:2")
            if names.count(name) > 1:
                raise UserError(f"--device {device}: {name} is named twice; --jobs trains several runs on each GPU")
            choose(name, "fp32")
    return names


@cache
def _stream(device: torch.device, _thread: int) -> torch.cuda.Stream:
    """Return the stream of a thread.

    Torch hands out 32 streams in turn, so a new one for each run may be that of another run in progress.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def device_errors(compute: Compute, what: str) -> Iterator[None]:
    """Turn what torch raises when memory is full, or the device is lost, into one line that says what to do.

    Args:
        what: what was computed, such as a run's name; the message begins with it.

    Raises:
        UserError: memory is full, or the device is lost.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise UserError(
                f"{what}: out of memory on {compute.name}; the mini-batch belongs to the recipe, so lower the rest: "
                "--jobs, --precision bf16, fewer programs beside it, or a shallower net"
            ) from error
        if device_lost(error):
            raise UserError(
                f"{what}: the device failed ({first_line(error)}); its checkpoints are intact: once nvidia-smi "
                "(AMD: rocm-smi) shows the device again, the same command goes on from them"
            ) from error
        raise


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that the device's memory, or the machine's, is full."""
    signs = ("can't allocate memory", "ALLOC_FAILED", "out of memory")
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)


def out_of_memory_cause(error: BaseException) -> BaseException | None:
    """Return the error that says that memory is full, this one or one that led to it; None: none says so."""
    return next(filter(out_of_memory, _chain(error)), None)


def missing_compiler(error: BaseException) -> str:
    """Return what to install where Triton could not build its launcher, to be added to a message; else nothing."""
    for cause in _chain(error):
        if isinstance(cause, subprocess.CalledProcessError) or "Failed to find C compiler" in str(cause):
            return "; Triton needs gcc and the headers of Python (Debian: gcc, python3-dev)"
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def device_lost(error: BaseException) -> bool:
    """Tell whether an error means that the device failed."""
    of_rocm = ("HIP error", "MIOPEN", "HIPBLAS_STATUS", "ROCBLAS_STATUS")
    return any(sign in str(error) for sign in ("CUDA error", "CUDNN_STATUS", "CUBLAS_STATUS", *of_rocm))


def _precision(device: torch.device, precision: str) -> Precision:
    if precision == "fp32":
        return "fp32"
    if device.type == "cpu":
        has_bf16, has_tf32 = _cpu_has_bf16(), False
    else:
        with torch.cuda.device(device):  # torch asks the current one
            has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
            has_tf32 = torch.cuda.is_tf32_supported()
    if precision == "auto":
        return "bf16" if has_bf16 else "fp32"
    if precision == "bf16":
        if not has_bf16:
            raise UserError(f"--precision bf16: this {device.type} does not compute in bf16; use fp32, or auto")
        return "bf16"
    if precision == "tf32":
        if not has_tf32:
            raise UserError("--precision tf32: only CUDA devices have it, and not the older ones; use fp32, or auto")
        return "tf32"
    raise UserError(f"--precision {precision}: expected auto, fp32, tf32 or bf16")


def _cpu_has_bf16() -> bool:
    """Tell whether convolutions run on bf16 instructions; emulated, they are slower than fp32."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _keep_freed_memory() -> None:
    """Tell glibc to keep the memory of freed tensors for the next step, and not to return it to the kernel.

    Measured: without it a step of ResNet-20 takes 7,000 page faults and 10 % more time.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        trim_threshold, mmap_threshold, arena_max = -1, -3, -8
        libc.mallopt(arena_max, 1)  # runs in threads keep it, too
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, 2**31 - 1)
