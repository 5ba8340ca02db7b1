"""The two training loops that are timed, each in a process of its own."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
import torch.nn.functional as F
from torchvision import transforms

from resrepro.config.presets import PRESETS
from resrepro.config.recipe import Recipe
from resrepro.data.in_memory.images import Images
from resrepro.data.in_memory.pipeline import InMemoryPipeline
from resrepro.evaluation.batch_norm import num_mini_batches
from resrepro.models import build
from resrepro.models.stage import mode
from resrepro.runtime.device import Compute, choose
from resrepro.training.step import Engine

RECIPE = Recipe(**PRESETS["cifar"])
NUM_WORKERS = 2  # of the standard loop's DataLoader
WARM_UP_ITERS = 5

Loop = Callable[[int], None]  # trains for so many iterations, and waits for the device


@dataclass(frozen=True, kw_only=True)
class Job:
    """Say what one process is asked to time. Images travel as shared memory.

    Args:
        loop: `standard` or `resrepro`.
        runs: trained at once, in one process.
        seconds: of a round, at least; a round has one iteration at least.
    """

    loop: str
    arch: str
    runs: int
    images: Images
    device: str
    precision: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Sent once a loop is warm.

    Args:
        start_s: from the images in memory to the end of the first iteration.
        evaluations_s: all of a whole run's evaluations, estimated from a part of one.
    """

    start_s: float
    evaluations_s: float


@dataclass(frozen=True, kw_only=True)
class Round:
    """Sent after a round: iterations of all runs together a second, and the process's peak memory so far."""

    iterations_per_s: float
    peak_mib: float


def serve(job: Job, pipe: Connection) -> None:
    """Warm up, then time a round whenever told to."""
    began = time.perf_counter()
    loop, compute, evaluations_s = (_standard if job.loop == "standard" else _ours)(job)
    loop(1)
    start_s = time.perf_counter() - began
    loop(1)
    start = time.perf_counter()
    loop(1)
    once_s = time.perf_counter() - start
    count = max(1, round(job.seconds / once_s))
    loop(min(count, WARM_UP_ITERS))
    pipe.send(Ready(start_s=start_s, evaluations_s=evaluations_s()))
    while pipe.recv() == "go":
        loop(min(2, count))  # what was prepared while waiting does not count
        start = time.perf_counter()
        loop(count)
        rate = job.runs * count / (time.perf_counter() - start)
        pipe.send(Round(iterations_per_s=rate, peak_mib=_peak_mib(compute)))


def _peak_mib(compute: Compute) -> float:
    if compute.device.type == "cuda":
        return torch.cuda.max_memory_reserved(compute.device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _ours(job: Job) -> tuple[Loop, Compute, Callable[[], float]]:
    compute = choose(job.device, job.precision)
    torch.set_num_threads(max(1, torch.get_num_threads() // job.runs))
    batches = InMemoryPipeline(job.images, padding=RECIPE.crop_padding, device=compute.device)
    engines = []
    for seed in range(job.runs):
        with compute.stream():
            net = build(job.arch, num_classes=job.images.num_classes, seed=seed)
            engines.append(Engine(net, batches, RECIPE, seed=seed, compute=compute))
    done = 0

    def one(engine: Engine, count: int) -> None:
        with compute.stream():
            for iteration in range(done, done + count):
                engine.step(iteration, RECIPE.lr)
            engine.totals()  # waits

    def loop(count: int) -> None:
        nonlocal done
        threads = [threading.Thread(target=one, args=(engine, count)) for engine in engines[1:]]
        for thread in threads:
            thread.start()
        one(engines[0], count)
        for thread in threads:
            thread.join()
        done += count

    def evaluations_s() -> float:
        """Tests at each curve point and at the end, with both BN statistics; the averages; the clean training set."""
        view = engines[0].single_view
        with compute.stream(), mode(view.net, training=False):
            for _ in range(2):  # the first has more to do
                view.start.zero_()
                start = time.perf_counter()
                view.evaluate_chunk()
                compute.synchronize()
                image_s = (time.perf_counter() - start) / len(view.offsets)
        averages = RECIPE.total_iters // RECIPE.curve_every_iters + 1
        images = 2 * averages * len(job.images.test_images) + len(job.images.train_images)
        return image_s * (images + averages * num_mini_batches(RECIPE) * RECIPE.batch_size)

    return loop, compute, evaluations_s


class _Transformed(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """A map-style dataset as torchvision's: a PIL image through transforms, one at a time."""

    def __init__(self, images: Images) -> None:
        self.pixels, self.labels = images.train_images.numpy(), images.train_labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(images.size, padding=RECIPE.crop_padding),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26)),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pixels[index]), self.labels[index]


def _standard(job: Job) -> tuple[Loop, Compute, Callable[[], float]]:
    where = torch.device(
        "cuda" if job.device == "auto" and torch.cuda.is_available() else job.device.replace("auto", "cpu")
    )
    compute = Compute(device=where, precision="fp32")  # no settings of the allocator or the libraries: those are ours
    net = build(job.arch, num_classes=job.images.num_classes, seed=0).to(where)
    optimizer = torch.optim.SGD(net.parameters(), RECIPE.lr, momentum=RECIPE.momentum, weight_decay=RECIPE.weight_decay)
    loader = torch.utils.data.DataLoader(
        _Transformed(job.images), RECIPE.batch_size, shuffle=True, num_workers=NUM_WORKERS, drop_last=True,
        pin_memory=where.type == "cuda",
    )  # fmt: skip

    def steps() -> Iterator[None]:
        while True:
            for x, y in loader:
                x, y = x.to(where, non_blocking=True), y.to(where, non_blocking=True)
                loss = F.cross_entropy(net(x), y)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                loss.item()  # printed or summed by such loops
                yield

    endless = steps()

    def loop(count: int) -> None:
        for _ in range(count):
            next(endless)

    return loop, compute, lambda: 0.0  # its evaluations are not estimated
