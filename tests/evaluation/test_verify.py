from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resrepro.evaluation.verify import Verifier
from resrepro.runtime import device
from resrepro.runtime.device import Compute


def test_no_precision_is_chosen_while_a_net_is_measured(fp32: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA that allows TF32 for the whole process, or forbids it."""
    events: list[str] = []

    def choose(_device: str, _precision: str) -> Compute:
        events.append("chosen")
        time.sleep(0.05)  # in which a thread would measure
        return fp32

    monkeypatch.setattr(device, "choose", choose)
    monkeypatch.setattr(Verifier, "_verify", lambda *_: events.append("measured"))
    records: dict[Any, Any] = {
        number: SimpleNamespace(device="a (CPU)", precision=precision, kernels="torch", num_threads=1)
        for number, precision in enumerate(("tf32", "fp32", "bf16"))
    }
    assert len([*Verifier(data_dir=Path()).verify(records)]) == 3
    assert events == 3 * ["chosen"] + 3 * ["measured"]
