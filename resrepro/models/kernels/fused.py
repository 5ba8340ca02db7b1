"""Compute the layers of a block in torch's operations or, in training, in kernels of our own.

On the CPU BN, the shortcut's addition and ReLU are one kernel, which reads and writes each activation a third as often
as separate operations do. 3x3 convolutions of 16, 32 and 64 channels are kernels of ours on CUDA and, in fp32, on CPUs
with AVX2. In bf16 the weights' gradient is ours on CPUs with AVX512-BF16 but without AMX: with AMX oneDNN's takes a
quarter of its time. `resrepro bench` measures the time they save.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.models.kernels import build

LINE = 64  # elements; the kernel's unit of work
CHANNELS = (16, 32, 64)  # of our convolutions
TILE = 4  # outputs on a side, in winograd.cpp
LARGEST_ON_CUDA = 16 * 32 * 32  # elements of an image's maps: those of the nets for CIFAR, on which ours were measured

Kernel = Callable[[Tensor, Tensor], Tensor]  # input (N, C, H, W), weight (C, C, 3, 3) -> output (N, C, H, W)

_fused = False
_cuda = False


def load_kernels() -> str | None:
    """Use the kernels in all nets of this process.

    Returns:
        None, or the reason why torch's operations are used instead.
    """
    global _fused
    reason = None if _fused else build.load()
    _fused = reason is None
    return reason


def load_cuda_kernels(device: torch.device) -> None:
    """Use our convolutions on CUDA in all nets of this process, once they have run on this device.

    Raises:
        Exception: there is no Triton, or whatever it does not like; then cuDNN's are used.
    """
    global _cuda
    try:
        importlib.import_module("resrepro.models.kernels.conv3x3_cuda")
        for channels in CHANNELS:
            x = torch.ones(1, channels, 8, 8, dtype=torch.bfloat16, device=device).to(memory_format=torch.channels_last)
            torch.ops.resrepro.conv3x3_cuda(x, torch.ones(channels, channels, 3, 3, device=device))
            torch.ops.resrepro.conv3x3_weight_gradient(x, x)
    except Exception:
        use_cudnn()
        raise
    _cuda = True  # and not False meanwhile: other runs of this process compute


def use_cudnn() -> None:
    """Use cuDNN's convolutions on CUDA in all nets of this process."""
    global _cuda
    _cuda = False


def use_torch() -> None:
    """Use torch's operations in all nets of this process, as before kernels were loaded."""
    global _fused
    _fused = False
    use_cudnn()


def bn_relu(bn: nn.BatchNorm2d, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """Compute relu(bn(x)), or relu(bn(x) + shortcut): (N, C, H, W) each."""
    if _fused and bn.training and _fits(x, shortcut):
        return _bn_relu_fused(bn, x, shortcut)
    y = bn(x)  # needed by nothing else, so what follows works in place
    return F.relu_(y if shortcut is None else y.add_(shortcut))


def conv3x3(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Compute a 3x3 convolution: (N, C_in, H, W) -> (N, C_out, H/stride, W/stride)."""
    if conv.training and torch.is_grad_enabled() and _conv_fits(conv, x):
        kernel = _cuda_kernel(x) if _on_cuda(x) else _cpu_kernel(x)
        if kernel is not None:
            return kernel(x, conv.weight)
    return conv(x)  # type: ignore[no-any-return]


def _conv_fits(conv: nn.Conv2d, x: Tensor) -> bool:
    channels = x.shape[1]
    return (
        channels in CHANNELS
        and conv.out_channels == channels
        and conv.stride == (1, 1)
        and conv.groups == 1
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def _on_cuda(x: Tensor) -> bool:
    return _cuda and x.is_cuda


def _cuda_kernel(x: Tensor) -> Kernel | None:
    small = x.shape[1] * x.shape[2] * x.shape[3] <= LARGEST_ON_CUDA
    return torch.ops.resrepro.conv3x3_cuda if small and x.dtype == torch.bfloat16 else None


def _cpu_kernel(x: Tensor) -> Kernel | None:
    """Return what the compiler's target has the instructions for, and the maps the size for; None if it is oneDNN's."""
    if not _fused or x.device.type != "cpu":
        return None
    if x.dtype == torch.bfloat16 and x.shape[3] % 2 == 0 and "amx_bf16" not in build.cpu_flags():
        return getattr(torch.ops.resrepro, "conv3x3", None)
    if x.dtype == torch.float32 and x.shape[2] % TILE == x.shape[3] % TILE == 0:
        return getattr(torch.ops.resrepro, "conv3x3_winograd", None)
    return None


def _fits(x: Tensor, shortcut: Tensor | None) -> bool:
    channels = x.shape[1]
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and (LINE % channels == 0 or channels % LINE == 0)
        and x.numel() % LINE == 0
        and x.numel() > channels  # of one value a channel torch says that it has no variance
        and x.is_contiguous(memory_format=torch.channels_last)
        and (shortcut is None or (shortcut.dtype == x.dtype and shortcut.shape == x.shape))
    )


def _bn_relu_fused(bn: nn.BatchNorm2d, x: Tensor, shortcut: Tensor | None) -> Tensor:
    momentum = bn.momentum
    if bn.num_batches_tracked is not None:
        bn.num_batches_tracked.add_(1)
        momentum = 1 / int(bn.num_batches_tracked) if momentum is None else momentum  # None: plain average
    y: Tensor = torch.ops.resrepro.bn_relu(
        x, bn.weight, bn.bias, shortcut, bn.running_mean, bn.running_var, momentum, bn.eps
    )
    return y
