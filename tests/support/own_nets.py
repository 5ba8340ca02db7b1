"""Nets of other code: a package in a folder of its own."""

from __future__ import annotations

from pathlib import Path

BLOCKS = """
from torch import nn

def unit(inputs, outputs, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
"""
NETS = """
import torch
from torch import nn
from own_nets import blocks

class Small(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.rest = blocks.unit(8, 16, 2)
        self.linear = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.linear(self.rest(torch.relu(self.bn1(self.conv1(x)))).mean((2, 3)))

NUMBER = 3

def string(num_classes):
    return "net"

def fails(num_classes):
    raise ValueError("first line\\nsecond line")

def seven(num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(7))

def wide(num_classes):
    return nn.Conv2d(4, num_classes, 1)

class Tuple(Small):
    def forward(self, x):
        return (super().forward(x),) if self.training else super().forward(x)
"""


def write_package(folder: Path) -> Path:
    """Write the package `own_nets` into a folder, and return its own."""
    package = folder / "own_nets"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "blocks.py").write_text(BLOCKS)
    (package / "nets.py").write_text(NETS)
    (package / "broken.py").write_text("1 / 0")
    (package / "needs.py").write_text("import not_installed")
    (package / "unrelated.py").touch()
    return package
