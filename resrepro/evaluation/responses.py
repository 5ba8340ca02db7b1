"""Standard deviation of each 3x3 layer's response: Fig. 7."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from resrepro.models.layers import Layer, weighted_layers
from resrepro.results.records import Response
from resrepro.runtime.distributed import ALONE, World


class Responses:
    """Listen to every 3x3 layer as the net evaluates, inside a `with`; change nothing of what it computes.

    A response is what BN gives, before the shortcut's addition and ReLU. The standard deviation is taken over all
    images, positions and channels of the layer. Sums are fp32 within an image and fp64 over the images, on the device.

    Args:
        num_images: of the split; images that come after them (to fill a last batch) do not count.
        world: its processes evaluate so many images each, and `rows` is of all of them.
    """

    def __init__(self, net: nn.Module, num_images: int, world: World = ALONE) -> None:
        self.num_images, self.world = num_images, world
        self._sums = [_Sums(layer, num_images) for layer in layers_3x3(net) if layer.bn is not None]
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Responses:
        for sums in self._sums:
            assert sums.layer.bn is not None
            self._hooks.append(sums.layer.bn.register_forward_hook(sums.add))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def rows(self) -> list[Response]:
        """Return a row for each layer, once the whole split is evaluated; wait for the device."""
        if not self._sums:
            return []
        table = torch.stack([s.whole() for s in self._sums])
        self.world.all_reduce_sum(table)
        return [
            Response(layer=s.layer.number, name=s.layer.name, std=_std(*sums), num_images=round(num_images))
            for s, (*sums, num_images) in zip(self._sums, table.tolist(), strict=True)
        ]


def layers_3x3(net: nn.Module) -> list[Layer]:
    """Return the 3x3 layers; those of the paper's nets all have a response, for their `bn` is known."""
    return [layer for layer in weighted_layers(net) if getattr(layer.module, "kernel_size", None) == (3, 3)]


def _std(num_elements: float, total: float, total_squares: float) -> float:
    return math.sqrt(max(0.0, total_squares / num_elements - (total / num_elements) ** 2))


class _Sums:
    """Sum one layer's responses, and their squares."""

    def __init__(self, layer: Layer, num_images: int) -> None:
        self.layer, self.num_images, self.images_left = layer, num_images, num_images
        self.num_elements = 0
        self.sums: Tensor | float = 0.0

    def add(self, bn: nn.Module, _inputs: Any, response: Tensor) -> None:
        """Add a response, as a forward hook: ReLU works in place on it, so its sums are taken here."""
        y = response.detach()[: self.images_left].permute(0, 2, 3, 1).flatten(1).float()  # channels-last: no copy
        self.images_left -= len(y)
        self.num_elements += y.numel()
        self.sums = self.sums + torch.stack((y.sum(1), y.square().sum(1))).double().sum(1)

    def whole(self) -> Tensor:
        """Return the number of elements, their sum, that of their squares, and the number of images."""
        if self.images_left or not isinstance(self.sums, Tensor):
            raise RuntimeError(f"{self.layer.name}: {self.images_left} images were not seen")
        return torch.cat(
            (self.sums.new_tensor([self.num_elements]), self.sums, self.sums.new_tensor([self.num_images]))
        )
