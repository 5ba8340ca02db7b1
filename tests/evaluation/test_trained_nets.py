from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from resrepro.errors import UserError
from resrepro.evaluation.trained_nets import find

ROOT = Path(__file__).parents[2]


def test_weights_of_a_run_with_another_bit_are_not_taken(tmp_path: Path) -> None:
    """Found by the crash campaign: `evaluate` tested such a net, and recorded its errors."""
    folder = Path(shutil.copytree(ROOT / "results/cifar10/resnet20-decay-weights/seed0", tmp_path / "seed0"))
    assert find([folder])[0].weights == folder / "weights.safetensors"
    weights = bytearray((folder / "weights.safetensors").read_bytes())
    weights[-99] ^= 1
    (folder / "weights.safetensors").write_bytes(weights)
    with pytest.raises(UserError, match=r"weights.safetensors: damaged, for its SHA-256"):
        find([folder])
