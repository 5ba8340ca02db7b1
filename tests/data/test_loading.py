from __future__ import annotations

from pathlib import Path

import pytest

from resrepro.data import loading
from resrepro.errors import UserError


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cifar-10", "did you mean 'cifar10'"),
        ("folder:", "did you mean 'folder:PATH'"),
        ("imagenet", "preset 'imagenet'"),
        ("folder", "folder:PATH"),
    ],
)
def test_unknown_dataset(name: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=hint):
        loading.load(name, data_dir=tmp_path)
