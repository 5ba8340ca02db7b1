from __future__ import annotations

from pathlib import Path

import pytest

from resrepro.data.image_files.listing import ImageFiles
from resrepro.data.loading import open_image_folder
from support.images import write_tree


@pytest.fixture
def files(tmp_path: Path) -> ImageFiles:
    """Ten images, two classes."""
    return open_image_folder(f"folder:{write_tree(tmp_path / 'birds')}", data_dir=tmp_path).train
