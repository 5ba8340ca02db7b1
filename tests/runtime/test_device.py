from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from resrepro.errors import UserError
from resrepro.runtime import machine
from resrepro.runtime.device import choose


@pytest.fixture
def an_old_and_a_new_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand for a machine whose first GPU computes in neither bf16 nor TF32, and whose second one does in both."""
    current = [0]

    @contextmanager
    def entered(device: torch.device) -> Iterator[None]:
        before, current[0] = current[0], device.index or 0
        yield
        current[0] = before

    def is_new(*, including_emulation: bool = False) -> bool:
        return current[0] == 1

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", entered)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_new)
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", is_new)
    monkeypatch.setattr(torch.backends, "cuda", SimpleNamespace(matmul=SimpleNamespace()))
    monkeypatch.setattr(torch.backends, "cudnn", SimpleNamespace())


@pytest.mark.usefixtures("an_old_and_a_new_gpu")
@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_a_gpu_is_asked_for_its_own_precision(precision: str) -> None:
    with pytest.raises(UserError, match=f"--precision {precision}: .*; use fp32, or auto"):
        choose("cuda:0", precision)
    assert choose("cuda:0", "auto").precision == "fp32"
    assert choose("cuda:1", precision).precision == precision
    assert choose("cuda:1", "auto").precision == "bf16"


@pytest.mark.parametrize("set_by_user", [False, True])
def test_a_container_has_no_more_threads_than_cores(set_by_user: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(machine, "num_cores", lambda: 1)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if set_by_user:
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(2)
    try:
        choose("cpu", "fp32")
        assert torch.get_num_threads() == (2 if set_by_user else 1)
    finally:
        torch.set_num_threads(before)
