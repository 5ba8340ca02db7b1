"""The fixtures, and the markers' visible skips."""

from __future__ import annotations

import os

# One thread a process: resuming is exact with any number that stays the same, and pytest-xdist fills the cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # with it, commands do not look first whether others keep the cores busy
os.environ["COLUMNS"] = "200"  # no line of a command wraps

import functools
import gc
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.main

from resrepro.data.in_memory import shapes
from resrepro.data.in_memory.images import Images
from resrepro.evaluation import batch_norm, constructed
from resrepro.runtime import device
from resrepro.training import step
from support import processes
from support.images import encoded, picture, write_tree

torch.set_num_threads(1)
typer.main.get_command = functools.cache(typer.main.get_command)  # a tenth of a second a command
step.NORMS_BATCHES = 1  # of 4, which take a third of a small run's time; tests of their numbers put them back
# As in a terminal: a shell's background ignores it, and so would the processes that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))
        if item.get_closest_marker("slow") and not config.getoption("--run-slow"):
            item.add_marker(pytest.mark.skip(reason="slow; run with --run-slow"))


def pytest_collection_finish() -> None:
    gc.freeze()  # what the imports made stays: the collection at the end of each run would look at all of it


@pytest.fixture
def fp32() -> device.Compute:
    return device.choose("cpu", "fp32")


@pytest.fixture(scope="module")
def few_images() -> Iterator[None]:
    """The dataset `shapes` has 500 training and 100 test images: what ends a run takes seconds otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((shapes, "generate"), (batch_norm, "NUM_MINI_BATCHES"), (constructed, "NUM_BATCHES")):
            patch.setattr(module, name, getattr(module, name))  # put back at the end
        processes.few_images()
        yield


@pytest.fixture
def images() -> Images:
    """30 training and 13 test images of 8x6 random pixels, 3 classes."""
    draw = np.random.default_rng(0)

    def part(n: int) -> tuple[np.ndarray, np.ndarray]:
        return draw.integers(0, 256, (n, 8, 6, 3), dtype=np.uint8), draw.integers(0, 3, n)

    return Images.from_numpy(*part(30), *part(13), num_classes=3)


TOML = """
title = "a test"
dataset = "shapes"
[recipe]
preset = "cifar-decay-all"
total_iters = 12
batch_size = 8
lr = 0.05
lr_drop_iters = [6, 9]
curve_every_iters = 5
crop_padding = 2
[[run]]
arch = "plain8"
[[run]]
arch = "resnet8"
seeds = [0, 1]
[[claim]]
text = "plain is worse"
higher = "plain8"
lower = "resnet8"
column = "test_error_pct"
[[figure]]
name = "tiny"
title = "A test"
[[figure.panel]]
title = "both"
runs = ["plain8", "resnet8"]
"""


@pytest.fixture
def toml(tmp_path: Path) -> Callable[..., Path]:
    """Writes the small experiment, with replacements, and gives its path."""

    def write(*replacements: tuple[str, str], name: str = "mine") -> Path:
        text = TOML
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Ten training images, one of them large, and six for the test."""
    root = write_tree(tmp_path / "birds")
    (root / "train" / "owl" / "owl_2.JPEG").write_bytes(encoded(picture(1001, 700), quality=95))
    return root
