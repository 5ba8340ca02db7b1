"""A dataset of small images of one size, in memory."""

from __future__ import annotations

from torch import Tensor

from resrepro.config.recipe import Recipe
from resrepro.data.dataset import DataOptions, check_batch_size
from resrepro.data.in_memory.images import Images
from resrepro.data.in_memory.pipeline import InMemoryPipeline
from resrepro.errors import UserError


class InMemoryDataset:
    """Hold small images of one size, which the net sees whole (Sec. 4.2)."""

    resizes_images = False

    def __init__(self, images: Images, options: DataOptions) -> None:
        self.images, self.options = images, options
        self._pipelines: dict[tuple[int, int | None], InMemoryPipeline] = {}

    @property
    def num_classes(self) -> int:
        return self.images.num_classes

    @property
    def test_labels(self) -> Tensor:
        return self.images.test_labels

    def test_image(self, index: int) -> Tensor:
        return self.images.test_images[index].permute(2, 0, 1)

    def image_size(self, _recipe: Recipe) -> tuple[int, int]:
        return self.images.size

    def check(self, recipe: Recipe, place: str) -> None:
        height, width = self.images.size
        if recipe.crop_padding >= min(height, width):
            raise UserError(
                f"{place}: recipe.crop_padding is {recipe.crop_padding}, and an image has {height} x {width} pixels; "
                "expected less, for some crops would show no part of an image"
            )
        check_batch_size(recipe, len(self.images.first(recipe.train_images, place).train_images), place)

    def pixel_mean(self, recipe: Recipe) -> Tensor:
        return self.images.first(recipe.train_images, "recipe").pixel_mean().permute(2, 0, 1)

    def channel_mean_std(self) -> tuple[Tensor, Tensor]:
        pixels = self.images.train_images.view(-1, 3).double() / 255
        return pixels.mean(0).float(), pixels.std(0).float()

    def input_pipeline(self, recipe: Recipe) -> InMemoryPipeline:
        key = recipe.crop_padding, recipe.train_images
        if key not in self._pipelines:
            images = self.images.first(recipe.train_images, "recipe")
            self._pipelines[key] = InMemoryPipeline(images, padding=recipe.crop_padding, device=self.options.device)
        return self._pipelines[key]
