"""`resrepro bench`: our training loop beside the one people write today, end to end, data included.

Each loop lives in a process of its own, for peak memory and the allocator's settings belong to a process. The two
take turns, one works while the other waits, so that both see the same machine; the medians are compared.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torchvision import transforms

from resrepro import data
from resrepro.catalog import architecture
from resrepro.data.batches import Batches
from resrepro.data.images import Images
from resrepro.device import Compute, choose
from resrepro.errors import UserError
from resrepro.experiment import PRESETS, Recipe
from resrepro.models import build
from resrepro.models.complexity import complexity
from resrepro.training.engine import Engine

RECIPE = Recipe(**PRESETS["cifar"])
NUM_WORKERS = 2  # of the standard loop's DataLoader
WARMUP_ITERS = 5
MATMUL_SIDE = 2048


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one process is asked to time. Images travel as shared memory."""

    loop: str
    arch: str
    images: Images
    device: str
    precision: str
    iterations: int


def compare(
    archs: list[str],
    *,
    dataset: str,
    data_dir: Path,
    device: str,
    precision: str,
    rounds: int,
    iterations: int,
    console: Console,
) -> None:
    """Prints a row for each architecture: images/s of both loops, their ratio, peak memory, share of matmul's rate."""
    for arch in archs:
        architecture(arch)
    images = data.load(dataset, data_dir=data_dir)
    compute = choose(device, precision)
    rates = {p: _matmul_rate(choose(device, p)) for p in dict.fromkeys(("fp32", compute.precision))}
    console.print(f"{compute.name}, {torch.get_num_threads()} threads, torch {torch.__version__}; matmul ", end="")
    console.print(", ".join(f"{p} {rate / 1e12:.2f} TFLOP/s" for p, rate in rates.items()))
    table = Table(
        "architecture",
        "loop",
        "images/s",
        "range",
        "ratio",
        "peak memory",
        "of matmul rate",
        box=None,
        header_style="bold",
    )
    for arch in archs:
        jobs = [
            Job(loop=loop, arch=arch, images=images, device=device, precision=precision, iterations=iterations)
            for loop in ("standard", "resrepro")
        ]
        speeds, peaks = _alternate(jobs, rounds)
        size = images.size
        flops = 3 * 2 * complexity(arch, num_classes=images.num_classes, image_size=size).num_multiply_adds
        standard = statistics.median(speeds[0])
        for job, speed, peak in zip(jobs, speeds, peaks, strict=True):
            median = statistics.median(speed)
            rate = rates["fp32" if job.loop == "standard" else compute.precision]
            table.add_row(
                arch, job.loop, f"{median:.0f}", f"{min(speed):.0f}-{max(speed):.0f}", f"{median / standard:.2f}",
                f"{peak:.0f} MiB", f"{100 * median * flops / rate:.0f} %",
            )  # fmt: skip
    console.print(table)
    console.print(
        "images/s: median of the rounds. standard: torchvision transforms, DataLoader with "
        f"{NUM_WORKERS} workers (their memory not counted), eager fp32 (CUDA: TF32 convolutions), contiguous."
    )


def _matmul_rate(compute: Compute) -> float:
    """FLOP/s of a large square matrix product in the given precision."""
    kind = torch.bfloat16 if compute.precision == "bf16" else torch.float32
    a = torch.randn(MATMUL_SIDE, MATMUL_SIDE, device=compute.device, dtype=kind)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        _synchronize(compute)
        times.append(time.perf_counter() - start)
    return 2 * MATMUL_SIDE**3 / statistics.median(times)


def _synchronize(compute: Compute) -> None:
    if compute.device.type == "cuda":
        torch.cuda.synchronize(compute.device)


def _alternate(jobs: list[Job], rounds: int) -> tuple[list[list[float]], list[float]]:
    """Images/s of each round, and peak memory in MiB, for each job; the processes take turns."""
    context = multiprocessing.get_context("spawn")
    workers = []
    for job in jobs:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(job, theirs))
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        workers.append((process, ours))
        _receive(ours, job)  # warmed up
    speeds: list[list[float]] = [[] for _ in jobs]
    peaks = [0.0 for _ in jobs]
    for _ in range(rounds):
        for i, (_, pipe) in enumerate(workers):
            pipe.send("go")
            speed, peaks[i] = _receive(pipe, jobs[i])
            speeds[i].append(speed)
    for process, pipe in workers:
        pipe.send("stop")
        process.join()
    return speeds, peaks


def _receive(pipe: Connection, job: Job) -> Any:
    try:
        return pipe.recv()
    except EOFError as error:
        raise UserError(
            f"bench: the {job.loop} loop on {job.arch} ended early (its message is above); out of memory? take a "
            "shallower net"
        ) from error


def _serve(job: Job, pipe: Connection) -> None:
    """In a process of its own: warms up, then times a stretch whenever told to."""
    loop, compute = (_standard if job.loop == "standard" else _ours)(job)
    for _ in range(WARMUP_ITERS):
        next(loop)
    pipe.send("ready")
    while pipe.recv() == "go":
        next(loop)  # what was prepared while waiting does not count
        next(loop)
        start = time.perf_counter()
        for _ in range(job.iterations):
            next(loop)
        _synchronize(compute)
        speed = job.iterations * RECIPE.batch_size / (time.perf_counter() - start)
        pipe.send((speed, _peak_mib(compute)))


def _peak_mib(compute: Compute) -> float:
    if compute.device.type == "cuda":
        return torch.cuda.max_memory_allocated(compute.device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _ours(job: Job) -> tuple[Iterator[None], Compute]:
    compute = choose(job.device, job.precision)
    engine = Engine(
        build(job.arch, num_classes=job.images.num_classes, seed=0),
        Batches(job.images, padding=RECIPE.crop_padding, device=compute.device),
        RECIPE,
        seed=0,
        compute=compute,
    )

    def loop() -> Iterator[None]:
        iteration = 0
        while True:
            engine.step(iteration, RECIPE.lr)
            iteration += 1
            yield

    return loop(), compute


class _Transformed(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """A map-style data set as torchvision's: a PIL image through transforms, one at a time."""

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


def _standard(job: Job) -> tuple[Iterator[None], Compute]:
    where = torch.device(
        "cuda" if job.device == "auto" and torch.cuda.is_available() else job.device.replace("auto", "cpu")
    )
    compute = Compute(device=where, precision="fp32")  # no allocator settings: those are ours
    net = build(job.arch, num_classes=job.images.num_classes, seed=0).to(where)
    optimizer = torch.optim.SGD(net.parameters(), RECIPE.lr, momentum=RECIPE.momentum, weight_decay=RECIPE.weight_decay)
    loader = torch.utils.data.DataLoader(
        _Transformed(job.images), RECIPE.batch_size, shuffle=True, num_workers=NUM_WORKERS, drop_last=True,
        pin_memory=where.type == "cuda",
    )  # fmt: skip

    def loop() -> Iterator[None]:
        while True:
            for x, y in loader:
                x, y = x.to(where, non_blocking=True), y.to(where, non_blocking=True)
                loss = F.cross_entropy(net(x), y)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                loss.item()  # printed or summed by such loops
                yield

    return loop(), compute
