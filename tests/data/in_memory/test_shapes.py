from __future__ import annotations

from pathlib import Path

import numpy as np

from support.images import load_images


def test_shapes_are_a_function_of_nothing_and_balanced(tmp_path: Path) -> None:
    a, b = (load_images("shapes", data_dir=tmp_path) for _ in range(2))
    assert (a.train_images == b.train_images).all() and (a.test_labels == b.test_labels).all()
    assert a.train_images.shape[1:] == (16, 16, 3) and a.num_classes == 10
    assert a.train_labels.bincount().min() == a.train_labels.bincount().max()
    assert not (a.train_images[: len(a.test_images)] == a.test_images).flatten(1).all(1).any()
    assert list(tmp_path.iterdir()) == []


def test_per_pixel_mean_is_of_the_training_images(tmp_path: Path) -> None:
    images = load_images("shapes", data_dir=tmp_path)
    np.testing.assert_allclose(images.pixel_mean(), images.train_images.numpy().mean(0, dtype=np.float64), rtol=1e-6)
