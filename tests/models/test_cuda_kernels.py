"""Our convolutions on CUDA, without a GPU: what they compute, and where they are used."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn

from resrepro.models.kernels import fused
from support.processes import json_of


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="torch without Triton")
def test_they_compute_what_torch_does() -> None:
    """Output, gradients of input and weights, each gradient alone, and all under activation checkpointing."""
    for size, found in json_of("support.cuda_kernels", TRITON_INTERPRET="1").items():
        assert len(found) == 8 and max(found) < 1e-5, (size, found)


FITS = {"channels": 16, "out": 16, "stride": 1, "groups": 1, "dtype": torch.bfloat16, "side": 32}


@pytest.mark.parametrize(
    ("changed", "fits"),
    [
        ({}, True),
        ({"channels": 64, "out": 64, "side": 16}, True),
        ({"channels": 64, "out": 64, "side": 56}, False),  # of ImageNet, where they were not measured
        ({"out": 32}, False),
        ({"channels": 8, "out": 8}, False),
        ({"stride": 2}, False),
        ({"groups": 2}, False),
        ({"dtype": torch.float32}, False),
    ],
)
def test_they_are_used_on_maps_of_cifar_in_bf16(
    changed: dict[str, object], fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case: dict[str, object] = FITS | changed
    channels, out, side, stride, groups = (int(str(case[k])) for k in ("channels", "out", "side", "stride", "groups"))
    conv = nn.Conv2d(channels, out, 3, stride, 1, groups=groups, bias=False).to(case["dtype"])
    x = torch.zeros(1, channels, side, side, dtype=case["dtype"]).to(memory_format=torch.channels_last)
    used: list[str] = []

    class Ops:
        def conv3x3_cuda(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            used.append("ours")
            return nn.functional.conv2d(x, weight, padding=1)

    monkeypatch.setattr(fused, "_on_cuda", lambda x: True)
    monkeypatch.setattr(torch.ops, "resrepro", Ops())
    monkeypatch.setattr(fused, "_fused", False)
    fused.conv3x3(conv, x)
    assert used == (["ours"] if fits else [])
    with torch.no_grad():
        fused.conv3x3(conv, x)
    fused.conv3x3(conv.eval(), x)
    assert len(used) == fits  # only where gradients are wanted
