"""How many images per second the ways from files to the net's input give: ours, its parts, and the standard loader."""

from __future__ import annotations

import contextlib
import io
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from resrepro.config.recipe import ScaleCrop
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files.dataset import IMAGENET_MEAN_STD
from resrepro.data.image_files.decoding import decode
from resrepro.data.image_files.listing import ImageFiles, ImageFolder
from resrepro.data.image_files.prefetch import prefetched
from resrepro.data.image_files.training_views import NetInput, ScaleCropViews

BATCH_SIZE = 128
ROUNDS = 3
ENDLESS = range(10**9)


def loader_rates(folder: ImageFolder, crop: ScaleCrop, options: DataOptions, *, seconds: float) -> dict[str, float]:
    """Return images per second, the median of three rounds of `seconds` in which all take turns.

    `decode` and `view` (decoded, resized and cropped) by one thread; `augment` by the device on a mini-batch that is
    there already; `loader` with `num_workers` threads; `standard` with as many processes: torch's DataLoader of PIL
    images through torchvision's transforms, which resize the whole image.
    """
    files, num_workers = folder.train, options.num_workers
    views = ScaleCropViews(files, image_size=crop.size, shorter_side=crop.shorter_side, batch_size=BATCH_SIZE, seed=0)
    standard = _Standard(files, crop)
    ways: dict[str, Callable[[], Iterator[int]]] = {
        "decode": lambda: _decoded(files, views),
        "view": lambda: (len(views[i].labels) for i in ENDLESS),
        "augment": lambda: _augmented(views, options.device),
        "loader": lambda: (len(batch.labels) for batch in prefetched(views, ENDLESS, num_workers=num_workers)),
        "standard": lambda: _standard_batches(standard, num_workers),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    threads = torch.get_num_threads()
    try:
        for _ in range(ROUNDS):
            for name, way in ways.items():
                torch.set_num_threads(threads if name == "augment" else 1)
                rates[name].append(_rate(way(), seconds, warm_up=2 * num_workers + 1))
    finally:
        torch.set_num_threads(threads)
    return {name: statistics.median(of_way) for name, of_way in rates.items()}


def _rate(counts: Iterator[int], seconds: float, *, warm_up: int) -> float:
    """Return the items per second, measured after `warm_up` mini-batches, as many as may lie ready at the start."""
    with contextlib.closing(counts):  # type: ignore[type-var]
        for _ in range(warm_up):
            next(counts)
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            done += next(counts)
        return done / (time.perf_counter() - start)


def _decoded(files: ImageFiles, views: ScaleCropViews) -> Iterator[int]:
    for position in ENDLESS:
        index = views.crops.index(position)
        decode(files.read(index), files.name(index))
        yield 1


def _augmented(views: ScaleCropViews, device: torch.device) -> Iterator[int]:
    net_input = NetInput(torch.zeros(views.image_size, views.image_size, 3), device=device)
    images, _, flip, alphas, _ = views[0]
    there = images.to(device), flip.to(device), alphas.to(device)
    for _ in ENDLESS:
        net_input.augmented(*there)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        yield len(images)


class _Standard(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """The dataset that people write: a PIL image, resized whole, then cropped."""

    def __init__(self, files: ImageFiles, crop: ScaleCrop) -> None:
        self.files, self.shorter_side = files, crop.shorter_side
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(crop.size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(*IMAGENET_MEAN_STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(io.BytesIO(self.files.read(index))) as file:
            image: Any = file.convert("RGB")
        low, high = self.shorter_side
        image = transforms.functional.resize(image, int(torch.randint(low, high + 1, ())))
        return self.transform(image), int(self.files.labels[index])


def _standard_batches(standard: _Standard, num_workers: int) -> Iterator[int]:
    loader = torch.utils.data.DataLoader(standard, BATCH_SIZE, shuffle=True, num_workers=num_workers, drop_last=True)
    while True:
        for _, labels in loader:
            yield len(labels)
