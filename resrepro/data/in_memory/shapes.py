"""Embedded dataset: small geometric shapes in clutter, drawn by numpy from a seed (nothing to download)."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resrepro.config.datasets import SIZES
from resrepro.data.in_memory.images import Images

CLASS_NAMES: tuple[str, ...] = (
    "disc",
    "ring",
    "square",
    "frame",
    "diamond",
    "triangle",
    "plus",
    "cross",
    "horizontal bars",
    "vertical bars",
)

SIZE = 16  # image side, pixels
RADIUS = (3.5, 5.5)  # half the side of a shape, pixels
SHIFT = 1.0  # largest offset of a shape from the center, pixels: a crop moved by 2 cuts off at most 1
TILT = 0.2  # largest rotation, radians: far from the pi/4 that turns a plus into a cross
CONTRAST = (80.0, 150.0)  # distance between the colors of shape and background, grey levels
STROKES = 3  # distracting line segments per image
NOISE = 8.0  # standard deviation of the pixel noise, grey levels
CHUNK = 4096  # images drawn at a time, which bounds the memory

Array = NDArray[np.floating]  # float32 in fact: numpy's type stubs lose the width in mixed arithmetic


def _distance(name: str, x: Array, y: Array) -> Array:
    """Return the signed distance to a shape that fills about [-1, 1]^2.

    It is negative inside, and exact enough near the outline. Every shape is its own mirror image in x, so that a
    horizontal flip cannot change the class.
    """
    ax, ay = np.abs(x), np.abs(y)
    radius = np.hypot(x, y)
    box = np.maximum(ax, ay)
    shapes: dict[str, Callable[[], Array]] = {  # functions, so that only the one asked for is computed
        "disc": lambda: radius - 0.95,
        "ring": lambda: np.abs(radius - 0.75) - 0.25,
        "square": lambda: box - 0.85,
        "frame": lambda: np.abs(box - 0.7) - 0.22,
        "diamond": lambda: (ax + ay - 1.15) / math.sqrt(2),
        "triangle": lambda: np.maximum((2 * ax + y - 0.95) / math.sqrt(5), -y - 0.9),
        "plus": lambda: np.maximum(np.minimum(ax, ay) - 0.27, box - 1),
        "cross": lambda: np.maximum(np.abs(ax - ay) / math.sqrt(2) - 0.27, box - 0.85),
        "horizontal bars": lambda: np.maximum(np.abs(ay - 0.6) - 0.25, ax - 0.9),
        "vertical bars": lambda: np.maximum(np.abs(ax - 0.6) - 0.25, ay - 0.9),
    }
    return shapes[name]()


def _draw(rng: np.random.Generator, labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Draw one image per label: (N,) -> (N, 16, 16, 3), values 0 to 255."""
    n = len(labels)

    def uniform(low: float, high: float, *shape: int) -> Array:
        return rng.uniform(low, high, (n, *shape)).astype(np.float32)

    def paint(image: Array, distance: Array, color: Array) -> Array:
        # A ramp one pixel wide across the outline stands for anti-aliasing.
        cover: Array = np.clip(0.5 - distance, 0, 1)[..., None]
        return image + cover * (color - image)

    # Coordinates of the pixels from the middle of the image.
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32) - (SIZE - 1) / 2

    background = uniform(60, 195, 1, 1, 3)
    slope = uniform(-3, 3, 2, 1, 1, 3)
    image = background + slope[:, 0] * columns[..., None] + slope[:, 1] * rows[..., None]

    for _ in range(STROKES):
        angle, length = uniform(0, np.pi, 1, 1), uniform(1, 3, 1, 1)
        x, y = columns - uniform(-8, 8, 1, 1), rows - uniform(-8, 8, 1, 1)
        along = x * np.cos(angle) + y * np.sin(angle)
        across = y * np.cos(angle) - x * np.sin(angle)
        segment = np.hypot(np.maximum(np.abs(along) - length, 0), across) - uniform(0.5, 1.2, 1, 1)
        image = paint(image, segment, uniform(0, 255, 1, 1, 3))

    radius, tilt = uniform(*RADIUS, 1, 1), uniform(-TILT, TILT, 1, 1)
    x, y = columns - uniform(-SHIFT, SHIFT, 1, 1), rows - uniform(-SHIFT, SHIFT, 1, 1)
    u = (x * np.cos(tilt) + y * np.sin(tilt)) / radius
    v = (x * np.sin(tilt) - y * np.cos(tilt)) / radius  # points up, rows point down
    distance = np.empty_like(u)
    for label, name in enumerate(CLASS_NAMES):
        of_class = labels == label
        distance[of_class] = _distance(name, u[of_class], v[of_class])
    direction = rng.standard_normal((n, 1, 1, 3)).astype(np.float32)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    image = paint(image, distance * radius, background + uniform(*CONTRAST, 1, 1, 1) * direction)

    image += NOISE * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _make(rng: np.random.Generator, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw `count` images (N, 16, 16, 3) and labels (N,), balanced to within one and in random order."""
    labels = rng.permutation(np.arange(count, dtype=np.int64) % len(CLASS_NAMES))
    chunks = [_draw(rng, labels[start : start + CHUNK]) for start in range(0, count, CHUNK)]
    return np.concatenate(chunks), labels


def generate(
    *, num_train: int = SIZES["shapes"].num_train, num_test: int = SIZES["shapes"].num_test
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """Draw the training and test sets; equal arguments give equal images (up to rounding on another machine).

    Returns train_images (num_train, 16, 16, 3), train_labels (num_train,), test_images (num_test, 16, 16, 3)
    and test_labels (num_test,); images are RGB, 0 to 255. The test images do not depend on `num_train`.
    """
    # Two independent streams, so that no test image repeats the randomness of a training image.
    train_rng, test_rng = (np.random.default_rng(child) for child in np.random.SeedSequence(0).spawn(2))
    return *_make(train_rng, num_train), *_make(test_rng, num_test)


def load(_data_dir: Path) -> Images:
    """Draw the set that `quickstart` and the tests use: 20,000 training and 2,000 test images of seed 0."""
    return Images.from_numpy(*generate(), num_classes=len(CLASS_NAMES))
