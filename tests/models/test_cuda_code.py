"""The code that Inductor writes for an H100: how many kernels it launches, and what they compute. Needs no GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

TESTED = "2.14"  # how Inductor is called here is not public, and so may be another in another release

pytestmark = [
    pytest.mark.skipif(not torch.__version__.startswith(TESTED), reason=f"knows the inside of torch {TESTED} only"),
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="torch without Triton"),
]


def code_of(arch: str, *args: str, **env: str) -> dict[str, Any]:
    return run("support.cuda_code", arch, *args, **env)


def run(module: str, *args: str, **env: str) -> dict[str, Any]:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "ignore", "-m", module, *args]
    path = os.pathsep.join((str(root / "tests"), str(root)))
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path, **env}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_blocks_launch_no_more_kernels_than_they_did() -> None:
    """The backward pass of a convolution of ours is two calls; of one with stride 2 it is one call, of cuDNN."""
    assert code_of("resnet20") == {
        "identity": {"kernels": [9, 7], "convolutions": [2, 4], "layout copies": 0},
        "stride 2": {"kernels": [9, 8], "convolutions": [2, 3], "layout copies": 0},
    }


def test_our_cuda_kernels_compute_what_torch_does() -> None:
    for size, found in run("support.cuda_kernels", TRITON_INTERPRET="1").items():
        assert len(found) == 3 and max(found) < 1e-5, (size, found)


@pytest.mark.slow
def test_bottlenecks_launch_no_more_kernels_than_they_did() -> None:
    both = code_of("resnet50")
    assert [block["layout copies"] for block in both.values()] == [0, 0]
    assert [block["kernels"] for block in both.values()] == [[13, 12], [13, 12]]


@pytest.mark.slow
def test_the_generated_kernels_compute_what_eager_does() -> None:
    """In fp32, so that only the order of sums differs; the interpreter takes minutes."""
    both = code_of("resnet20", "run", TRITON_INTERPRET="1")
    for name, distances in both.items():
        assert len(distances) == 14, name
        assert max(distances.values()) < 1e-5, (name, distances)
