from __future__ import annotations

import numpy as np
import torch

from resrepro.data.in_memory.images import Images
from resrepro.data.in_memory.pipeline import Crops, CropSampler, InMemoryPipeline

CPU = torch.device("cpu")


def stream(**options: int) -> CropSampler:
    return CropSampler(**options, device=CPU)


def batch(views: CropSampler, iteration: int) -> Crops:
    views.load(iteration)
    return views.at(torch.tensor(iteration))


def direct(images: Images, i: int, top: int, left: int, flip: bool, padding: int) -> np.ndarray:
    """Sec. 4.2 in numpy: subtract the mean, pad zeros, crop, flip."""
    train = images.train_images.numpy().astype(np.float64)
    centered = train[i] - train.mean(0)
    padded = np.pad(centered, ((padding, padding), (padding, padding), (0, 0)))
    crop = padded[top : top + centered.shape[0], left : left + centered.shape[1]]
    return (crop[:, ::-1] if flip else crop).transpose(2, 0, 1)


def test_every_crop_and_flip_equals_the_direct_formula(images: Images) -> None:
    batches = InMemoryPipeline(images, padding=4, device=CPU)
    cases = [(7, top, left, flip) for top in range(9) for left in range(9) for flip in (0, 1)]
    index, top, left, flip = (torch.tensor(column) for column in zip(*cases, strict=True))
    x, y = batches.train(Crops(index=index, top=top, left=left, flip=flip))
    for found, case in zip(x, cases, strict=True):
        np.testing.assert_allclose(found, direct(images, *case, padding=4), atol=1e-4)
    assert (y == images.train_labels[7]).all()


def test_all_81_offsets_and_both_flips_are_drawn_equally_often() -> None:
    views = stream(num_images=8100, batch_size=128, padding=4, seed=0).epoch(0)
    count = np.zeros((9, 9), int)
    np.add.at(count, (views[1], views[2]), 1)
    assert count.min() > 60 and count.max() < 145  # 100 expected; both ends, 0 and 8, included
    assert 0.47 < views[3].mean() < 0.53


def test_each_epoch_shows_each_image_once_and_batches_straddle_epochs() -> None:
    views = stream(num_images=50, batch_size=16, padding=0, seed=3)
    seen = torch.cat([batch(views, i).index for i in range(25)])  # 8 epochs
    for epoch in seen.split(50):
        assert sorted(epoch.tolist()) == list(range(50))
    assert seen[:50].tolist() != seen[50:100].tolist()


def test_a_mini_batch_is_a_function_of_seed_and_iteration() -> None:
    forward = stream(num_images=50, batch_size=16, padding=4, seed=3)
    views = [batch(forward, i) for i in range(20)]
    for i in (13, 2, 19, 3):  # any order, a fresh process
        again = batch(stream(num_images=50, batch_size=16, padding=4, seed=3), i)
        assert all(torch.equal(a, b) for a, b in zip(vars(views[i]).values(), vars(again).values(), strict=True))
    other = batch(stream(num_images=50, batch_size=16, padding=4, seed=4), 0)
    assert not torch.equal(views[0].index, other.index)


def test_a_mini_batch_is_its_stretch_of_the_endless_stream() -> None:
    """The ring of epochs against the epochs themselves, laid out one after the other."""
    for num_images, size in ((50, 16), (48, 16), (5, 16), (16, 16), (17, 16)):
        views = stream(num_images=num_images, batch_size=size, padding=4, seed=1)
        whole = np.concatenate([views.epoch(e) for e in range(1 + 40 * size // num_images)], axis=1)
        for i in (0, 1, 2, 3, 4, 9, 17, 38, 39):
            expected = whole[:, i * size : (i + 1) * size]
            np.testing.assert_array_equal(torch.stack([*vars(batch(views, i)).values()]), expected)


def test_a_batch_larger_than_the_data_set_is_full() -> None:
    view = batch(stream(num_images=5, batch_size=16, padding=0, seed=0), 1)
    assert len(view.index) == 16 and torch.bincount(view.index).min() >= 3


def test_the_test_set_gets_the_training_mean_and_no_augmentation(images: Images) -> None:
    batches = InMemoryPipeline(images, padding=4, device=CPU)
    mean = images.train_images.double().mean(0)
    x, y = batches.test(torch.arange(13))
    assert torch.equal(y, images.test_labels)
    expected = (images.test_images.double() - mean).permute(0, 3, 1, 2)
    torch.testing.assert_close(x.double(), expected, atol=1e-4, rtol=0)
    assert x.abs().max() > 100  # no division by a standard deviation


def test_clean_training_images_are_the_unpadded_ones(images: Images) -> None:
    x, y = InMemoryPipeline(images, padding=4, device=CPU).clean_train(torch.arange(30))
    assert torch.equal(y, images.train_labels)
    expected = (images.train_images.double() - images.train_images.double().mean(0)).permute(0, 3, 1, 2)
    torch.testing.assert_close(x.double(), expected, atol=1e-4, rtol=0)


def test_inputs_are_channels_last(images: Images) -> None:
    view = batch(stream(num_images=30, batch_size=4, padding=4, seed=0), 0)
    x, _ = InMemoryPipeline(images, padding=4, device=CPU).train(view)
    assert x.is_contiguous(memory_format=torch.channels_last)
