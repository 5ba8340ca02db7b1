"""Datasets by their names: one table of what opens each, in memory or as files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, overload

from torchvision.models import ResNet18_Weights

from resrepro.config.datasets import SIZES, check_dataset
from resrepro.config.recipe import Recipe
from resrepro.data.dataset import DataOptions, Dataset, check_batch_size
from resrepro.data.image_files import packed
from resrepro.data.image_files.dataset import ImageFolderDataset
from resrepro.data.image_files.imagenet import TINY_IMAGENET, open_imagenet, open_imagenette, open_tiny_imagenet
from resrepro.data.image_files.listing import ImageFolder, list_image_folder
from resrepro.data.in_memory import cifar, folder, resized, shapes
from resrepro.data.in_memory.dataset import InMemoryDataset
from resrepro.data.in_memory.images import Images
from resrepro.errors import UserError


class Openers(NamedTuple):
    """Name what reads a kind of dataset, of the folder it is given: PATH of `folder:PATH`, else `data_dir`.

    `place`: the pattern of what it needs in that folder; empty where it needs nothing. `class_names`: None for folders.
    """

    place: str = ""
    in_memory: Callable[[Path], Images] | None = None
    as_files: Callable[[Path], ImageFolder] | None = None
    class_names: Callable[[Path], tuple[str, ...]] | None = None


OPENERS = {
    "cifar10": Openers(
        place=cifar.CLASSES["cifar10"].base_folder,
        in_memory=partial(cifar.load, "cifar10"),
        class_names=lambda _: cifar.CIFAR10_NAMES,
    ),
    "cifar100": Openers(
        place=cifar.CLASSES["cifar100"].base_folder,
        in_memory=partial(cifar.load, "cifar100"),
        class_names=cifar.cifar100_names,
    ),
    "shapes": Openers(in_memory=shapes.load, class_names=lambda _: shapes.CLASS_NAMES),
    "folder": Openers(
        place="*", in_memory=lambda root: folder.read(list_image_folder(root)), as_files=list_image_folder
    ),
    "imagenet": Openers(
        place="imagenet",
        as_files=open_imagenet,
        class_names=lambda _: tuple(ResNet18_Weights.DEFAULT.meta["categories"]),
    ),
    "imagenette": Openers(place="imagenette2*", as_files=open_imagenette),
    "tiny-imagenet": Openers(
        place=TINY_IMAGENET,
        in_memory=lambda data_dir: folder.read(open_tiny_imagenet(data_dir)),
        as_files=open_tiny_imagenet,
    ),
}
IMAGE_FILES = [f"{name}:PATH" if name == "folder" else name for name, openers in OPENERS.items() if openers.as_files]


@overload
def load_dataset(
    name: str, options: DataOptions, *, as_files: Literal[False] = False, resize: int | None = None
) -> InMemoryDataset: ...
@overload
def load_dataset(
    name: str, options: DataOptions, *, as_files: Literal[True], shorter_side: int = 0
) -> ImageFolderDataset: ...
@overload
def load_dataset(
    name: str, options: DataOptions, *, as_files: bool, resize: int | None = None, shorter_side: int = 0
) -> Dataset: ...
def load_dataset(
    name: str, options: DataOptions, *, as_files: bool = False, resize: int | None = None, shorter_side: int = 0
) -> Dataset:
    """Open a dataset; download it to `data_dir` where it is not there yet and can be had.

    Args:
        as_files: whether images are resized and cropped, as a recipe with `scale_crop` says, and so stay files; else
            they are of one size, and read into memory. A folder can be opened either way.
        resize: in memory, None where they are of one size; or the side of the squares that images of any size become.
        shorter_side: as files, the largest that they are resized to, pixels.

    Raises:
        UserError: unknown, or not to be opened this way; files absent, damaged or unreadable; no network.
    """
    if as_files:
        files = open_image_folder(name, data_dir=options.data_dir, shorter_side=shorter_side)
        return ImageFolderDataset(name, files, options)
    if resize is not None:
        files = open_image_folder(name, data_dir=options.data_dir, shorter_side=resize)
        return InMemoryDataset(resized.read(files, resize, options), options)
    return InMemoryDataset(_in_memory(name)(_place(name, options.data_dir)), options)


def load_for(recipe: Recipe, name: str, options: DataOptions) -> Dataset:
    """Open a dataset the way a recipe reads it. Raises as `load_dataset` does."""
    as_files = recipe.scale_crop is not None
    return load_dataset(name, options, as_files=as_files, resize=recipe.resize, shorter_side=recipe.largest_side)


def way(recipe: Recipe) -> tuple[bool, int | None, bool]:
    """Return how a recipe reads a dataset, as a key: as files, as squares of a side, larger than prepared ones."""
    return recipe.scale_crop is not None, recipe.resize, recipe.largest_side > packed.SHORTER_SIDE


def open_image_folder(name: str, *, data_dir: Path, shorter_side: int = 0) -> ImageFolder:
    """Open what `resrepro data prepare` made of a dataset of image files; else list its files.

    Args:
        shorter_side: the largest that images are resized to, pixels; above that of prepared ones, the files are listed.

    Raises:
        UserError: absent, and not to be downloaded; another layout than expected; incomplete or damaged when prepared.
    """
    check_dataset(name)
    if shorter_side <= packed.SHORTER_SIDE:
        return packed.load(name, data_dir=data_dir) or list_image_files(name, data_dir=data_dir)
    try:
        return list_image_files(name, data_dir=data_dir)
    except UserError as error:
        store = packed.directory(name, data_dir=data_dir)
        if not store.is_dir():
            raise
        raise UserError(
            f"{error}; the recipe resizes images to up to {shorter_side} pixels, and the prepared ones in {store} have "
            f"at most {packed.SHORTER_SIDE}"
        ) from error


def list_image_files(name: str, *, data_dir: Path) -> ImageFolder:
    """List the files of a dataset of image files.

    Raises:
        UserError: absent, and not to be downloaded; another layout than expected.
    """
    return _as_files(name)(_place(name, data_dir))


def class_names(name: str, *, data_dir: Path) -> tuple[str, ...]:
    """Return what the classes are called, in the order of the labels; of a folder, the names of its folders.

    CIFAR-10's, ImageNet's and those of `shapes` are known without the dataset.

    Raises:
        UserError: unknown, absent or damaged.
    """
    names = _openers(name).class_names
    return names(_place(name, data_dir)) if names else open_image_folder(name, data_dir=data_dir).classes


def check_readable(recipe: Recipe, name: str, *, data_dir: Path) -> None:
    """Check what can be seen of a dataset without opening it: that the recipe reads such, and that it can be had.

    Raises:
        UserError: the recipe reads image files and these are none, or the reverse; absent, and not to be downloaded;
            known to have fewer training images than a mini-batch.
    """
    as_files = recipe.scale_crop is not None or recipe.resize is not None
    open_it = _as_files(name) if as_files else _in_memory(name)
    if (name == "imagenet" or name.startswith("folder:")) and not is_there(name, data_dir=data_dir):
        open_it(_place(name, data_dir))  # says what is expected, and where
    if name in SIZES:
        num_images = SIZES[name].num_train
        check_batch_size(recipe, min(num_images, recipe.train_images or num_images), name)


def at_hand(name: str, *, data_dir: Path) -> bool:
    """Say whether a dataset is there or can be downloaded, which ImageNet cannot."""
    return name != "imagenet" or (data_dir / "imagenet").is_dir() or packed.directory(name, data_dir=data_dir).is_dir()


def is_there(name: str, *, data_dir: Path) -> bool:
    """Say whether a dataset can be opened without a download."""
    pattern = _openers(name).place
    found = not pattern or any(_place(name, data_dir).glob(pattern))
    return found or packed.directory(name, data_dir=data_dir).is_dir()


def differs_in_size(name: str) -> bool:
    """Say whether a dataset's images are known to differ in size, so that they cannot be read into memory."""
    return name in OPENERS and OPENERS[name].in_memory is None


def _openers(name: str) -> Openers:
    check_dataset(name)
    return OPENERS[name.partition(":")[0]]


def _in_memory(name: str) -> Callable[[Path], Images]:
    open_images = _openers(name).in_memory
    if open_images is None:
        raise UserError(
            f"dataset '{name}': its images differ in size; give --resize 32, or take an experiment with preset "
            "'imagenet', such as plain34-vs-res34"
        )
    return open_images


def _as_files(name: str) -> Callable[[Path], ImageFolder]:
    list_files = _openers(name).as_files
    if list_files is None:
        raise UserError(f"dataset '{name}': image files are expected here: {', '.join(IMAGE_FILES)}")
    return list_files


def _place(name: str, data_dir: Path) -> Path:
    path = name.partition(":")[2]
    return Path(path).expanduser() if path else data_dir
