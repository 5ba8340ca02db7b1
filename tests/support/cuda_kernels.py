"""How far our CUDA kernels, in Triton's interpreter and fp32, are from torch's convolutions.

TRITON_INTERPRET=1 python -m support.cuda_kernels    the distances, as JSON
"""

from __future__ import annotations

import json

import torch
import torch.nn.functional as F
from torch import Tensor

from resrepro.models.kernels import conv3x3_cuda


def distance(ours: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the largest value."""
    return float((ours - expected).abs().max() / expected.abs().max())


def distances(channels: int, images: int, height: int, width: int) -> list[float]:
    """Return those of the output, the gradient of the input and of the weights."""
    x = torch.randn(images, channels, height, width).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(channels, channels, 3, 3).to(memory_format=torch.channels_last).requires_grad_()
    ours, expected = conv3x3_cuda.conv3x3(x, weight), F.conv2d(x, weight, padding=1)
    gradient = torch.randn_like(expected)
    found = [torch.autograd.grad(y, (x, weight), gradient) for y in (ours, expected)]
    assert ours.stride() == expected.stride() and found[0][1].stride() == weight.stride()
    return [distance(ours, expected), *map(distance, *found)]


def main() -> None:
    """Print the distances, by small blocks: several for each program, the last of them not full."""
    torch.manual_seed(0)
    conv3x3_cuda.CONVOLUTION = dict.fromkeys(conv3x3_cuda.CONVOLUTION, (32, 4))
    conv3x3_cuda.GRADIENT = dict.fromkeys(conv3x3_cuda.GRADIENT, (16, 4, 1))
    sizes = ((16, 3, 8, 10), (32, 4, 5, 7), (64, 2, 6, 8))
    print(json.dumps({str(size): distances(*size) for size in sizes}))


if __name__ == "__main__":
    main()
