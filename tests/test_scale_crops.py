from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from pictures import encoded, picture, write_tree
from PIL import Image

from resrepro.bench.loaders import loader_rates
from resrepro.config.recipe import IMAGENET_CROP, ScaleCrop
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files.decoding import decode, resized_size
from resrepro.data.image_files.listing import ImageFiles
from resrepro.data.image_files.pixel_mean import pixel_mean
from resrepro.data.image_files.prefetch import HostBatch, prefetched
from resrepro.data.image_files.training_views import (
    EIGENVALUES,
    EIGENVECTORS,
    CenterCrops,
    NetInput,
    ScaleCropSampler,
    ScaleCropViews,
)
from resrepro.data.in_memory.pipeline import CropSampler
from resrepro.data.loading import open_image_folder
from resrepro.errors import UserError

SIDES = (32, 45)


@pytest.fixture
def files(tmp_path: Path) -> ImageFiles:
    """Ten images, two classes."""
    return open_image_folder(f"folder:{write_tree(tmp_path / 'birds')}", data_dir=tmp_path).train


def views(files: ImageFiles, **options: object) -> ScaleCropViews:
    return ScaleCropViews(files, **{"image_size": 28, "shorter_side": SIDES, "batch_size": 4, "seed": 3, **options})  # type: ignore[arg-type]


def same(a: HostBatch, b: HostBatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))


def test_the_stream_is_that_of_the_small_datasets() -> None:
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


def test_shards_make_up_the_mini_batch(files: ImageFiles) -> None:
    whole = views(files)[7]
    shards = [views(files, shard=slice(2 * i, 2 * i + 2))[7] for i in range(2)]
    assert same(whole, HostBatch(*(torch.cat(columns) for columns in list(zip(*shards, strict=True))[:4])))


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


def test_a_corrupt_image_is_named_or_the_next_one_stands_for_it(files: ImageFiles) -> None:
    crops = views(files).crops
    bad, after = crops.index(1), crops.index(2)
    whole = Path(files.name(bad)).read_bytes()
    Path(files.name(bad)).write_bytes(files.read(after))  # the same view of the next image
    of_next = views(files)[0].images[1]
    Path(files.name(bad)).write_bytes(whole)
    Path(files.name(bad)).write_bytes(files.read(bad)[:-200])
    for num_workers in (0, 1):
        batches = prefetched(views(files), range(3), num_workers=num_workers)
        with pytest.raises(UserError, match=rf"^{files.name(bad)}: not a readable image .*--skip-corrupt$"):
            list(batches)
        with pytest.warns(UserWarning) as warned:
            got = list(prefetched(views(files, skip_corrupt=True), range(6), num_workers=num_workers))
        assert [str(w.message) for w in warned if w.category is UserWarning] == [
            f"{files.name(bad)}: cannot be decoded; the next image of the epoch stands for it"
        ]
        assert list(got[0].skipped) == [files.name(bad)]
        assert torch.equal(got[0].images[1], of_next) and got[0].labels[1] == files.labels[crops.index(2)]
        places = [position for position in range(24) if crops.index(position) == bad]
        assert len(places) > 1 and sum(len(b.skipped) for b in got) == len(places)
    for i in range(10):
        Path(files.name(i)).write_bytes(b"no image")
    with pytest.raises(UserError, match="not one readable image in 10"):
        views(files, skip_corrupt=True)[0]


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_prefetched_is_the_same_with_any_number_of_workers(files: ImageFiles, num_workers: int) -> None:
    before = torch.get_rng_state()
    got = list(prefetched(views(files), range(5, 11), num_workers=num_workers))
    assert len(got) == 6 and all(same(batch, views(files)[5 + i]) for i, batch in enumerate(got))
    assert all(batch.images.is_contiguous(memory_format=torch.channels_last) for batch in got)
    assert torch.equal(torch.get_rng_state(), before)


def test_memory_is_used_again_once_nothing_refers_to_it(files: ImageFiles) -> None:
    dataset = views(files)
    held = [dataset[i] for i in range(3)]
    places = {batch.images.data_ptr() for batch in held}
    assert len(places) == 3 and all(same(batch, views(files)[i]) for i, batch in enumerate(held))
    part = held.pop().images[1:]
    assert dataset[3].images.data_ptr() not in places  # a part of it is still in use
    expected = views(files)[2].images[1:]
    assert torch.equal(part, expected)
    del part
    assert {dataset[i].images.data_ptr() for i in range(4, 9)} & places


def test_prefetched_can_be_closed_early_and_used_again(files: ImageFiles) -> None:
    first = prefetched(views(files), range(10**6), num_workers=1)
    second = prefetched(views(files), range(3, 5), num_workers=1)
    assert same(next(first), views(files)[0]) and same(next(second), views(files)[3])
    first.close()  # type: ignore[attr-defined]
    assert threading.active_count() == 2  # this one and the second's
    assert same(next(second), views(files)[4]) and next(second, None) is None
    assert same(next(prefetched(views(files), range(2), num_workers=1)), views(files)[0])
    assert threading.active_count() == 1


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


def mean_of(files: ImageFiles, data_dir: Path, **options: object) -> tuple[torch.Tensor, list[int]]:
    seen: list[int] = []

    def progress(_what: str, done: int, _total: int) -> None:
        seen.append(done)

    chosen = DataOptions(data_dir=data_dir, progress=progress, **options)  # type: ignore[arg-type]
    return pixel_mean(files, ScaleCrop(size=28, shorter_side=SIDES), "folder:birds", chosen), seen


def test_the_pixel_mean_is_of_the_center_crops_and_kept(
    files: ImageFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resrepro.data.image_files.pixel_mean.CHUNK", 3)
    crops = CenterCrops(files, image_size=28, shorter_side=32, batch_size=10)[0].images
    expected = crops.double().mean(0).permute(1, 2, 0)
    mean, seen = mean_of(files, tmp_path)
    assert mean.shape == (28, 28, 3) and mean.dtype == torch.float32 and seen == [3, 6, 9, 10]
    torch.testing.assert_close(mean, expected.float())
    again, seen = mean_of(files, tmp_path)
    assert torch.equal(again, mean) and not seen
    (kept,) = (tmp_path / "pixel_mean").iterdir()
    for damage in (kept.read_bytes()[:-40], b"", kept.read_bytes()[:600] + b"damaged" + kept.read_bytes()[607:]):
        kept.write_bytes(damage)
        again, seen = mean_of(files, tmp_path)
        assert torch.equal(again, mean) and seen
    first = Path(files.name(0))
    first.write_bytes(encoded(picture(50, 50, seed=9)))
    changed, seen = mean_of(files, tmp_path)
    assert seen and not torch.equal(changed, mean)


def test_the_pixel_mean_goes_on_where_it_was_stopped(
    files: ImageFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resrepro.data.image_files.pixel_mean.CHUNK", 2)
    monkeypatch.setattr("resrepro.data.image_files.pixel_mean.SAVE_EVERY", 2)
    whole, _ = mean_of(files, tmp_path / "whole")
    real = CenterCrops.crop

    def stops(self: CenterCrops, index: int) -> torch.Tensor:
        if index == 7:
            raise KeyboardInterrupt
        return real(self, index)

    monkeypatch.setattr(CenterCrops, "crop", stops)
    with pytest.raises(KeyboardInterrupt):
        mean_of(files, tmp_path / "stopped")
    monkeypatch.setattr(CenterCrops, "crop", real)
    mean, seen = mean_of(files, tmp_path / "stopped")
    assert seen == [6, 8, 10] and torch.equal(mean, whole)


def test_the_pixel_mean_and_a_corrupt_image(files: ImageFiles, tmp_path: Path) -> None:
    Path(files.name(4)).write_bytes(b"no image")
    with pytest.raises(UserError, match=f"{files.name(4)}: not a readable image"):
        mean_of(files, tmp_path)
    mean, _ = mean_of(files, tmp_path, skip_corrupt=True)
    single = CenterCrops(files, image_size=28, shorter_side=32, batch_size=1)
    expected = torch.stack([single.crop(i) for i in range(10) if i != 4]).double().mean(0).permute(1, 2, 0)
    torch.testing.assert_close(mean, expected.float())


def test_the_loaders_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resrepro.bench.loaders.BATCH_SIZE", 2)
    tree = open_image_folder(f"folder:{write_tree(tmp_path / 'birds')}", data_dir=tmp_path)
    threads = torch.get_num_threads()
    crop, options = ScaleCrop(size=28, shorter_side=SIDES), DataOptions(data_dir=tmp_path, num_workers=1)
    rates = loader_rates(tree, crop, options, seconds=0.01)
    assert list(rates) == ["decode", "view", "augment", "loader", "standard"]
    assert min(rates.values()) > 0 and torch.get_num_threads() == threads


def test_resized_size_of_the_views_never_is_below_the_crop() -> None:
    for height, width in ((31, 1000), (1000, 31), (256, 257)):
        for side in (256, 480):
            assert min(resized_size(height, width, side)) == side
