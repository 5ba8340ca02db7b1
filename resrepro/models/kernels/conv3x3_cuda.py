"""3x3 convolutions of few channels on CUDA, and their gradients, as Triton kernels.

cuDNN's forward kernel computes tiles of 64 output channels, and for the gradient of the weights of 16 channels it
converts the maps to fp32. docs/performance.md has the times of both.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# Per number of channels, what was fastest on an H200 with 128 images of 32x32, 16x16 and 8x8 pixels. They also set the
# order of the sums, so a run's results depend on them by rounding.
CONVOLUTION = {16: (256, 4), 32: (128, 4), 64: (64, 4)}  # pixels of a program, warps
GRADIENT = {16: (64, 128, 1), 32: (64, 64, 2), 64: (64, 64, 4)}  # pixels of a step, programs, warps


@triton.jit  # type: ignore[untyped-decorator]
def _convolve(  # type: ignore[no-untyped-def]
    x, weight, y, num_pixels, into, out_of,
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, TURNED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row, column = (p // W) % H, p % W
    c = tl.arange(0, C)
    total = tl.zeros((BLOCK, C), tl.float32)
    for tap in tl.static_range(9):
        down, right = tap // 3 - 1, tap % 3 - 1
        inside = (p < num_pixels) & (row + down >= 0) & (row + down < H) & (column + right >= 0) & (column + right < W)
        maps = tl.load(x + (p + down * W + right)[:, None] * C + c[None, :], mask=inside[:, None], other=0.0)
        place = weight + c[:, None] * into + c[None, :] * out_of + (8 - tap if TURNED else tap) * C
        total = tl.dot(maps, tl.load(place).to(maps.dtype), total)
    tl.store(y + p[:, None] * C + c[None, :], total.to(y.dtype.element_ty), mask=(p < num_pixels)[:, None])


@triton.jit  # type: ignore[untyped-decorator]
def _sum_products(  # type: ignore[no-untyped-def]
    x, gradient, parts, num_pixels,
    STEPS: tl.constexpr, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    part, down = tl.program_id(0), tl.program_id(1) - 1
    c = tl.arange(0, C)
    left, middle, right = tl.zeros((C, C), tl.float32), tl.zeros((C, C), tl.float32), tl.zeros((C, C), tl.float32)
    for step in range(STEPS):
        p = (part * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
        row, column = (p // W) % H, p % W
        g = tl.load(gradient + p[:, None] * C + c[None, :], mask=(p < num_pixels)[:, None], other=0.0)
        place = x + (p + down * W)[None, :] * C + c[:, None]
        inside = (p < num_pixels) & (row + down >= 0) & (row + down < H)
        left = tl.dot(tl.load(place - C, mask=(inside & (column > 0))[None, :], other=0.0), g, left)
        middle = tl.dot(tl.load(place, mask=inside[None, :], other=0.0), g, middle)
        right = tl.dot(tl.load(place + C, mask=(inside & (column < W - 1))[None, :], other=0.0), g, right)
    place = parts + part * 9 * C * C + c[None, :] * 9 * C + (down + 1) * 3 * C + c[:, None]
    tl.store(place, left)
    tl.store(place + C, middle)
    tl.store(place + 2 * C, right)


@torch.library.custom_op("resrepro::conv3x3_cuda", mutates_args=())
def conv3x3(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve with stride 1 and padding 1: (N, C, H, W), (C, C, 3, 3) -> (N, C, H, W), channels-last.

    Sums are fp32; weights are rounded to the precision of `x`.
    """
    return _convolved(x, weight, turned=False)


@torch.library.custom_op("resrepro::conv3x3_input_gradient", mutates_args=())
def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of the input from that of the output: (N, C, H, W), (C, C, 3, 3) -> (N, C, H, W).

    It is a convolution by the transposed weights, turned by 180 degrees.
    """
    return _convolved(gradient, weight, turned=True)


@torch.library.custom_op("resrepro::conv3x3_weight_gradient", mutates_args=())
def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient of the weights, (C, C, 3, 3) fp32, from input and gradient of the output, (N, C, H, W)."""
    block, programs, warps = GRADIENT[x.shape[1]]
    n, c, h, w = x.shape
    x, gradient = (t.contiguous(memory_format=torch.channels_last) for t in (x, gradient))
    steps = triton.cdiv(n * h * w, block * programs)
    programs = triton.cdiv(n * h * w, block * steps)
    parts = torch.empty(programs, c, 3, 3, c, device=x.device)
    kernel: Any = _sum_products
    kernel[(programs, 3)](x, gradient, parts, n * h * w, STEPS=steps, H=h, W=w, C=c, BLOCK=block, num_warps=warps)
    return parts.sum(0).permute(0, 3, 1, 2)


def _convolved(x: Tensor, weight: Tensor, *, turned: bool) -> Tensor:
    block, warps = CONVOLUTION[x.shape[1]]
    n, c, h, w = x.shape
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    y = torch.empty_like(x)
    into, out_of = (9 * c, 1) if turned else (1, 9 * c)
    kernel: Any = _convolve
    kernel[(triton.cdiv(n * h * w, block),)](
        x, weight, y, n * h * w, into, out_of, H=h, W=w, C=c, TURNED=turned, BLOCK=block, num_warps=warps
    )
    return y


@conv3x3.register_fake
@input_gradient.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


@weight_gradient.register_fake
def _(x: Tensor, gradient: Tensor) -> Tensor:
    channels = x.shape[1]
    return x.new_empty(channels, 3, 3, channels, dtype=torch.float32).permute(0, 3, 1, 2)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    needs_x, needs_weight = ctx.needs_input_grad
    return input_gradient(gradient, weight) if needs_x else None, weight_gradient(x, gradient) if needs_weight else None


conv3x3.register_autograd(_backward, setup_context=_keep)
