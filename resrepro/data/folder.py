"""Any folder of equal-sized small images: `train/<class>/*.png|jpg` and `test|val/<class>/...`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from resrepro.data.images import Images
from resrepro.errors import UserError

EXTENSIONS = (".png", ".jpg", ".jpeg")


def load(*, name: str, path: str, data_dir: Path) -> Images:
    """Reads the whole tree into memory; classes are the sorted names of the folders in `train`.

    Raises:
        UserError: a folder is missing or empty, an image is unreadable or of another size, a class of the test
            part is not in the training part.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise UserError(f"dataset 'folder:{path}': no such folder; expected {root}/train/<class>/*.png")
    test = next((root / part for part in ("test", "val") if (root / part).is_dir()), None)
    if test is None or not (root / "train").is_dir():
        raise UserError(f"{root}: expected the folders 'train' and 'test' (or 'val'), each with a folder a class")
    classes = sorted(p.name for p in (root / "train").iterdir() if p.is_dir())
    if len(classes) < 2:
        raise UserError(f"{root / 'train'}: expected at least two class folders, found {len(classes)}")
    strange = sorted(p.name for p in test.iterdir() if p.is_dir() and p.name not in classes)
    if strange:
        raise UserError(f"{test / strange[0]}: no such class in {root / 'train'}; rename or remove it")
    files = {part: _files(part, classes) for part in (root / "train", test)}
    with _open(files[root / "train"][0][0]) as first:
        size = first.size
    train_images, train_labels = _read(files[root / "train"], size)
    test_images, test_labels = _read(files[test], size)
    return Images.from_numpy(train_images, train_labels, test_images, test_labels, num_classes=len(classes))


def _files(part: Path, classes: list[str]) -> list[tuple[Path, int]]:
    found = [
        (file, label)
        for label, name in enumerate(classes)
        for file in sorted((part / name).rglob("*"))
        if file.suffix.lower() in EXTENSIONS
    ]
    if not found:
        raise UserError(f"{part}: no images; expected <class>/*.png or *.jpg")
    return found


def _open(file: Path) -> Image.Image:
    try:
        return Image.open(file).convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(f"{file}: not a readable image ({error}); replace or remove it") from error


def _read(files: list[tuple[Path, int]], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(N, H, W, 3) uint8 and (N,) int64."""
    pixels = np.empty((len(files), size[1], size[0], 3), dtype=np.uint8)
    for i, (file, _) in enumerate(files):
        with _open(file) as image:
            if image.size != size:
                raise UserError(
                    f"{file}: {image.size[0]}x{image.size[1]} pixels, but the first image is {size[0]}x{size[1]}; "
                    "make all images one size"
                )
            pixels[i] = np.asarray(image)
    return pixels, np.asarray([label for _, label in files], dtype=np.int64)
