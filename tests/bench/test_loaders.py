from __future__ import annotations

from pathlib import Path

import pytest
import torch

from resrepro.bench.loaders import loader_rates
from resrepro.config.recipe import ScaleCrop
from resrepro.data.dataset import DataOptions
from resrepro.data.loading import open_image_folder
from support.images import SIDES, write_tree


def test_the_loaders_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resrepro.bench.loaders.BATCH_SIZE", 2)
    tree = open_image_folder(f"folder:{write_tree(tmp_path / 'birds')}", data_dir=tmp_path)
    threads = torch.get_num_threads()
    crop, options = ScaleCrop(size=28, shorter_side=SIDES), DataOptions(data_dir=tmp_path, num_workers=1)
    rates = loader_rates(tree, crop, options, seconds=0.01)
    assert list(rates) == ["decode", "view", "augment", "loader", "standard"]
    assert min(rates.values()) > 0 and torch.get_num_threads() == threads
