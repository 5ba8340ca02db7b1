"""The pixel mean: of the center crops, kept, and resumed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from resrepro.config.recipe import ScaleCrop
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files.listing import ImageFiles
from resrepro.data.image_files.pixel_mean import pixel_mean
from resrepro.data.image_files.training_views import (
    CenterCrops,
)
from resrepro.errors import UserError
from support.images import SIDES, encoded, picture


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
    (kept,) = (tmp_path / "pixel_mean").glob("*.npz")
    whole = kept.read_bytes()
    at = whole.rindex(b"PK\1\2") + 10  # how a part of the archive is compressed
    odd = whole[:at] + b"\xff" + whole[at + 1 :]
    for damage in (whole[:-40], b"", whole[:600] + b"damaged" + whole[607:], odd):
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
    real = ImageFiles.read

    def stops(self: ImageFiles, index: int) -> bytes:
        if index == 7:
            raise KeyboardInterrupt
        return real(self, index)

    monkeypatch.setattr(ImageFiles, "read", stops)
    with pytest.raises(KeyboardInterrupt):
        mean_of(files, tmp_path / "stopped")
    monkeypatch.setattr(ImageFiles, "read", real)
    mean, seen = mean_of(files, tmp_path / "stopped")
    assert seen == [6, 8, 10] and torch.equal(mean, whole)


def test_of_several_processes_one_computes_the_pixel_mean_and_the_others_wait(
    files: ImageFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes are threads here: the lock is one of an open file, and holds between them, too."""
    for name, value in {"CHUNK": 2, "SAVE_EVERY": 2, "LISTEN_EVERY_S": 0.01}.items():
        monkeypatch.setattr(f"resrepro.data.image_files.pixel_mean.{name}", value)
    computing, waiting = threading.Event(), threading.Event()
    real, summed = ImageFiles.read, []

    def read(self: ImageFiles, index: int) -> bytes:
        summed.append(index)
        if index == 7:
            computing.set()
            assert waiting.wait(60)
        return real(self, index)

    def wait(what: str, done: int, total: int) -> None:
        assert what == "per-pixel mean, by another process," and done >= 4 and total == 10
        waiting.set()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def other_mean(progress: Any) -> torch.Tensor:
        options = DataOptions(data_dir=tmp_path, progress=progress)
        return pixel_mean(files, ScaleCrop(size=28, shorter_side=SIDES), "folder:birds", options)

    monkeypatch.setattr(ImageFiles, "read", read)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(mean_of, files, tmp_path)
        assert computing.wait(60)
        with pytest.raises(KeyboardInterrupt):  # one that waits can be stopped
            other_mean(stop)
        other = other_mean(wait)
        assert torch.equal(other, first.result()[0])
    assert summed == list(range(10))


def test_the_pixel_mean_and_a_corrupt_image(files: ImageFiles, tmp_path: Path) -> None:
    Path(files.name(4)).write_bytes(b"no image")
    with pytest.raises(UserError, match=f"{files.name(4)}: not a readable image"):
        mean_of(files, tmp_path)
    with pytest.warns(UserWarning, match=f"{files.name(4)}: cannot be decoded; left out"):
        mean, _ = mean_of(files, tmp_path, skip_corrupt=True)
    single = CenterCrops(files, image_size=28, shorter_side=32, batch_size=1)
    expected = torch.cat([single[i].images for i in range(10) if i != 4]).double().mean(0).permute(1, 2, 0)
    torch.testing.assert_close(mean, expected.float())
