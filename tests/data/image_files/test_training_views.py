from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from PIL import Image

from resrepro.config.recipe import IMAGENET_CROP
from resrepro.data.image_files.decoding import decode, resized_size
from resrepro.data.image_files.imagenet import open_image_folder
from resrepro.data.image_files.listing import ImageFiles
from resrepro.data.image_files.prefetch import HostBatch
from resrepro.data.image_files.training_views import (
    EIGENVALUES,
    EIGENVECTORS,
    CenterCrops,
    NetInput,
    ScaleCropSampler,
)
from resrepro.data.in_memory.pipeline import CropSampler
from resrepro.errors import UserError
from support.images import SIDES, encoded, views


def same(a: HostBatch, b: HostBatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))


def test_the_stream_is_that_of_the_small_data_sets() -> None:
    crops = ScaleCropSampler(num_images=10, batch_size=4, seed=3, shorter_side=SIDES)
    stream = CropSampler(num_images=10, batch_size=4, padding=4, seed=3, device=torch.device("cpu"))
    expected = np.concatenate([stream.epoch(epoch)[0] for epoch in range(3)])
    assert [crops.index(position) for position in range(30)] == expected.tolist()


def test_draws_are_uniform_with_both_ends_and_normal_alphas() -> None:
    crops, other = (
        ScaleCropSampler(num_images=1000, batch_size=500, seed=seed, shorter_side=IMAGENET_CROP.shorter_side)
        for seed in (0, 1)
    )
    draws = [crops.draws(iteration) for iteration in range(100)]
    sides = Counter(np.concatenate([d.shorter_side for d in draws]).tolist())
    assert min(sides) == 256 and max(sides) == 480 and len(sides) == 225
    assert max(sides.values()) < 2 * min(sides.values())
    alphas = np.concatenate([d.alphas for d in draws])
    assert alphas.std() == pytest.approx(0.1, rel=0.01) and alphas.mean() == pytest.approx(0, abs=1e-3)
    assert np.abs(alphas).max() > 0.3  # not uniform
    assert np.concatenate([d.flip for d in draws]).mean() == pytest.approx(0.5, abs=0.01)
    for u in (np.concatenate([d.top for d in draws]), np.concatenate([d.left for d in draws])):
        assert np.unique((u * 5).astype(int), return_counts=True)[1] == pytest.approx(10_000, rel=0.05)
    assert not np.array_equal(draws[0].top, draws[0].left)
    assert not np.array_equal(draws[0].top, other.draws(0).top)


def test_a_view_is_the_crop_of_the_whole_resized_image(files: ImageFiles) -> None:
    seen: set[tuple[bool, bool]] = set()
    for iteration in range(12):
        batch, draws = (
            views(files)[iteration],
            ScaleCropSampler(num_images=10, batch_size=4, seed=3, shorter_side=SIDES).draws(iteration),
        )
        assert batch.images.shape == (4, 3, 28, 28) and batch.images.is_contiguous(memory_format=torch.channels_last)
        for row in range(4):
            index = views(files).crops.index(4 * iteration + row)
            assert batch.labels[row] == files.labels[index]
            image = decode(files.read(index), "")
            whole = TF.resize(image, int(draws.shorter_side[row]), antialias=True)
            left_over = [side - 28 for side in whole.shape[1:]]
            top, left = int(draws.top[row] * (left_over[0] + 1)), int(draws.left[row] * (left_over[1] + 1))
            expected = whole[:, top : top + 28, left : left + 28]
            assert (batch.images[row].int() - expected.int()).abs().max() <= 1
            seen |= {(top == 0, top == left_over[0])}
        assert torch.equal(batch.flip, torch.from_numpy(draws.flip))
        assert torch.equal(batch.alphas, torch.from_numpy(draws.alphas))
    assert len(seen) > 1


def test_crop_offsets_reach_both_ends(tmp_path: Path) -> None:
    """Of an image whose resized side is the crop's plus two, all three offsets are drawn, in both directions."""
    root = tmp_path / "ramps"
    ramp = np.arange(30, dtype=np.uint8) * 8
    image = np.stack([np.tile(ramp, (30, 1)), np.tile(ramp[:, None], (1, 30)), np.zeros((30, 30), np.uint8)], axis=2)
    for part in ("train", "val"):
        for name in ("a", "b"):
            (root / part / name).mkdir(parents=True)
            (root / part / name / "0.png").write_bytes(encoded(Image.fromarray(image), "PNG"))
    ramps = open_image_folder(f"folder:{root}", data_dir=tmp_path).train
    corners: Counter[tuple[int, int]] = Counter()
    dataset = views(ramps, shorter_side=(30, 30), batch_size=90)
    for iteration in range(2):
        images = dataset[iteration].images
        corners.update((int(i[1, 0, 0]) // 8, int(i[0, 0, 0]) // 8) for i in images)
    assert set(corners) == {(top, left) for top in range(3) for left in range(3)}
    assert min(corners.values()) > 8


def test_parts_make_up_the_mini_batch(files: ImageFiles) -> None:
    whole = views(files)[7]
    parts = [views(files, shard=slice(2 * i, 2 * i + 2))[7] for i in range(2)]
    assert same(whole, HostBatch(*(torch.cat(columns) for columns in list(zip(*parts, strict=True))[:4])))


def test_center_crops_are_torchvisions(files: ImageFiles) -> None:
    single = CenterCrops(files, image_size=28, shorter_side=37, batch_size=4)
    batches = [single[i] for i in range(len(single))]
    assert [len(b.labels) for b in batches] == [4, 4, 2]
    assert torch.cat([b.labels for b in batches]).tolist() == files.labels.tolist()
    assert not any(b.flip.any() or b.alphas.any() for b in batches)
    images = torch.cat([b.images for b in batches])
    for i in range(10):
        whole = TF.resize(decode(files.read(i), ""), 37, antialias=True)
        assert (images[i].int() - TF.center_crop(whole, [28, 28]).int()).abs().max() <= 1
    with pytest.raises(IndexError):
        single[3]


def test_a_crop_larger_than_the_image_is_refused(files: ImageFiles) -> None:
    with pytest.raises(UserError, match="shorter side 32: smaller than the crop of 33x33"):
        views(files, image_size=33)


def test_the_net_input_is_each_image_less_the_mean_flipped_with_its_color() -> None:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5, 3, 6, 6), dtype=torch.uint8, generator=draw)
    mean = 255 * torch.rand(6, 6, 3, generator=draw)
    flip = torch.tensor([True, False, True, True, False])
    alphas = 0.1 * torch.randn(5, 3, generator=draw)
    net_input = NetInput(mean, device=torch.device("cpu"))
    found = net_input.augmented(images, flip, alphas)
    assert found.dtype == torch.float32 and found.is_contiguous(memory_format=torch.channels_last)
    vectors = np.array(EIGENVECTORS)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=2e-4)
    for n in range(5):
        image = images[n].permute(1, 2, 0).double().numpy() - mean.double().numpy()
        if flip[n]:
            image = image[:, ::-1]
        color = sum(float(alphas[n, i]) * EIGENVALUES[i] * 255 * vectors[:, i] for i in range(3))
        np.testing.assert_allclose(found[n].permute(1, 2, 0), image + color, atol=1e-3)
    single = net_input.single_view(images)
    np.testing.assert_allclose(single.permute(0, 2, 3, 1), images.permute(0, 2, 3, 1) - mean, atol=1e-4)


def test_the_first_component_is_brightness() -> None:
    """A gray shift, about 255 * 0.2175 * 0.577 a unit of alpha in each channel; the columns are the vectors."""
    grey = torch.full((1, 3, 2, 2), 128, dtype=torch.uint8)
    net_input = NetInput(torch.zeros(2, 2, 3), device=torch.device("cpu"))
    shift = net_input.augmented(grey, torch.tensor([False]), torch.tensor([[1.0, 0, 0]]))[0, :, 0, 0] - 128
    assert shift.tolist() == pytest.approx([255 * 0.2175 * p for p in (-0.5675, -0.5808, -0.5836)], rel=1e-4)


def test_resized_size_of_the_views_never_is_below_the_crop() -> None:
    for height, width in ((31, 1000), (1000, 31), (256, 257)):
        for side in (256, 480):
            assert min(resized_size(height, width, side)) == side
