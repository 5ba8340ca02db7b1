from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from resrepro.errors import UserError
from support.images import load_images


def test_cifar10_is_read_with_all_its_training_images(cifar: Path) -> None:
    images = load_images("cifar10", data_dir=cifar)
    assert images.train_images.shape == (100, 32, 32, 3) and images.test_images.shape == (20, 32, 32, 3)
    assert images.train_images.is_contiguous() and images.test_images.is_contiguous()
    stored = pickle.loads((cifar / "cifar-10-batches-py" / "data_batch_3").read_bytes())
    assert images.train_images[40, 2, 5].tolist() == [int(stored["data"][0, c * 1024 + 2 * 32 + 5]) for c in range(3)]
    assert images.train_labels[40] == stored["labels"][0]


def test_cifar10_truncated_altered_or_missing_names_the_file(cifar: Path) -> None:
    file = cifar / "cifar-10-batches-py" / "data_batch_2"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=rf"{file}: .* wrong md5, expected .* truncated"):
        load_images("cifar10", data_dir=cifar)
    file.unlink()
    with pytest.raises(UserError, match=rf"{file}: missing"):
        load_images("cifar10", data_dir=cifar)
    file.write_bytes(whole)
    (file.parent / "batches.meta").write_bytes(b"")
    with pytest.raises(UserError, match=r"batches.meta: 0 bytes with a wrong md5"):
        load_images("cifar10", data_dir=cifar)
