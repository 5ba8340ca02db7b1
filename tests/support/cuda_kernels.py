"""How far our CUDA kernels, in Triton's interpreter and fp32, are from torch's convolutions.

TRITON_INTERPRET=1 python -m support.cuda_kernels    the distances, as JSON
"""

from __future__ import annotations

import json

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from resrepro.models.kernels import conv3x3_cuda


def distance(ours: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the largest value."""
    return float((ours - expected).abs().max() / expected.abs().max())


def distances(channels: int, images: int, height: int, width: int) -> list[float]:
    """Return those of output and gradients, of each gradient alone, and of all under activation checkpointing."""
    x = torch.randn(images, channels, height, width).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(channels, channels, 3, 3).to(memory_format=torch.channels_last).requires_grad_()
    expected = F.conv2d(x, weight, padding=1)
    gradient = torch.randn_like(expected)
    gradients = torch.autograd.grad(expected, (x, weight), gradient)
    found = []
    for again in (False, True):
        y = (
            checkpoint(conv3x3_cuda.conv3x3, x, weight, use_reentrant=False)
            if again
            else conv3x3_cuda.conv3x3(x, weight)
        )
        ours = torch.autograd.grad(y, (x, weight), gradient)
        assert y.stride() == expected.stride() and ours[1].stride() == weight.stride()
        found += [distance(y, expected), *map(distance, ours, gradients)]
    for wanted, its in zip((x, weight), gradients, strict=True):
        other = weight if wanted is x else x
        inputs = (x, weight.detach()) if other is weight else (x.detach(), weight)
        found.append(distance(torch.autograd.grad(conv3x3_cuda.conv3x3(*inputs), wanted, gradient)[0], its))
    return found


def main() -> None:
    """Print the distances, by small blocks: several for each program, the last of them not full."""
    torch.manual_seed(0)
    conv3x3_cuda.CONVOLUTION = dict.fromkeys(conv3x3_cuda.CONVOLUTION, (32, 4))
    conv3x3_cuda.GRADIENT = dict.fromkeys(conv3x3_cuda.GRADIENT, (16, 4, 1))
    sizes = ((16, 3, 6, 7), (32, 2, 5, 7), (64, 2, 4, 6))
    print(json.dumps({str(size): distances(*size) for size in sizes}))


if __name__ == "__main__":
    main()
