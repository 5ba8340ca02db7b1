"""A dataset of photographs of any size, as files."""

from __future__ import annotations

import torch
from torch import Tensor

from resrepro.config.recipe import Recipe, ScaleCrop
from resrepro.data.dataset import DataOptions, check_batch_size
from resrepro.data.image_files.decoding import decode
from resrepro.data.image_files.listing import ImageFolder
from resrepro.data.image_files.pipeline import ImageFilePipeline
from resrepro.data.image_files.pixel_mean import pixel_mean

# Of ImageNet's training set, as torchvision's weights were trained with.
IMAGENET_MEAN_STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class ImageFolderDataset:
    """Hold the list of a dataset's image files, which other threads decode, resize and crop as they are needed."""

    resizes_images = True

    def __init__(self, name: str, folder: ImageFolder, options: DataOptions) -> None:
        self.name, self.folder, self.options = name, folder, options
        self._pipelines: dict[ScaleCrop, ImageFilePipeline] = {}

    @property
    def num_classes(self) -> int:
        return len(self.folder.classes)

    @property
    def test_labels(self) -> Tensor:
        return torch.from_numpy(self.folder.test.labels)

    def test_image(self, index: int) -> Tensor:
        return decode(self.folder.test.read(index), self.folder.test.name(index))

    def image_size(self, recipe: Recipe) -> tuple[int, int]:
        size = _crop(recipe).size
        return size, size

    def check(self, recipe: Recipe, _place: str) -> None:
        check_batch_size(recipe, len(self.folder.train), self.folder.place)

    def pixel_mean(self, recipe: Recipe) -> Tensor:
        return pixel_mean(self.folder.train, _crop(recipe), self.name, self.options).permute(2, 0, 1)

    def channel_mean_std(self) -> tuple[Tensor, Tensor]:
        mean, std = map(torch.tensor, IMAGENET_MEAN_STD)
        return mean, std

    def input_pipeline(self, recipe: Recipe) -> ImageFilePipeline:
        crop = _crop(recipe)
        if crop not in self._pipelines:
            mean = self.pixel_mean(recipe).permute(1, 2, 0)  # (3, S, S) -> (S, S, 3)
            self._pipelines[crop] = ImageFilePipeline(self.folder, crop, mean, self.options)
        return self._pipelines[crop]


def _crop(recipe: Recipe) -> ScaleCrop:
    assert recipe.scale_crop is not None  # else the dataset is opened in memory
    return recipe.scale_crop
