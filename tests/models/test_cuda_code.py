"""The code that Inductor writes for an H100: how many kernels it launches, and what they compute. Needs no GPU."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from support.processes import json_of

TESTED = "2.14"  # how Inductor is called here is not public, and so may be another in another release

pytestmark = [
    pytest.mark.skipif(not torch.__version__.startswith(TESTED), reason=f"knows the inside of torch {TESTED} only"),
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="torch without Triton"),
]


def code_of(*parts: str, **env: str) -> dict[str, Any]:
    return json_of("support.cuda_code", *parts, **env)


def test_a_step_launches_no_more_kernels_than_it_did() -> None:
    """The backward pass of a convolution of ours is two calls; of one with stride 2 it is one call, of cuDNN."""
    assert code_of("resnet20", "ends") == {
        "identity": {"kernels": [9, 7], "convolutions": [2, 4], "layout copies": 0},
        "stride 2": {"kernels": [9, 8], "convolutions": [2, 3], "layout copies": 0},
        "mini-batch": {"kernels": [2], "convolutions": [0], "layout copies": 0},
        "loss": {"kernels": [3, 1], "convolutions": [0, 0], "layout copies": 0},
    }


@pytest.mark.slow
def test_bottlenecks_launch_no_more_kernels_than_they_did() -> None:
    both = code_of("resnet50")
    assert [block["layout copies"] for block in both.values()] == [0, 0]
    assert [block["kernels"] for block in both.values()] == [[13, 12], [13, 12]]


@pytest.mark.slow
def test_the_generated_kernels_compute_what_eager_does() -> None:
    """In fp32, so that only the order of sums differs; the interpreter takes minutes."""
    found = code_of("resnet20", "ends", TRITON_INTERPRET="1")
    assert found.pop("mini-batch") == {"inputs": 0, "labels": 0}
    assert {name: len(distances) for name, distances in found.items()} == {"identity": 14, "stride 2": 14, "loss": 3}
    for name, distances in found.items():
        assert max(distances.values()) < 1e-5, (name, distances)
