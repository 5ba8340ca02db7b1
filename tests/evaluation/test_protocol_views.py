"""Every crop's place in the image, and every size that an image is resized to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from resrepro.data.image_files.decoding import Window, center_crop, resized_size
from resrepro.data.image_files.listing import list_image_folder
from resrepro.data.image_files.training_views import CenterCrops
from resrepro.errors import UserError
from resrepro.evaluation.protocol_views import ProtocolViews, five_crops
from resrepro.paper import EVALUATION_SCALES, EvaluationProtocol

SIZES = [(256, 341), (341, 256), (257, 300), (256, 256), (225, 224), (480, 640)]  # height, width


def pixels(height: int, width: int) -> Tensor:
    """(3, height, width) uint8 at random, so that no two places look the same."""
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(height))


def at(image: Tensor, window: Window) -> Tensor:
    return image[:, window.top : window.top + window.height, window.left : window.left + window.width]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_center_and_corners_are_torchvisions(height: int, width: int) -> None:
    image = pixels(height, width)
    assert torch.equal(at(image, center_crop(height, width, 224)), tv.center_crop(image, [224, 224]))
    for ours, theirs in zip(five_crops(height, width, 224), tv.five_crop(image, [224, 224]), strict=True):
        assert torch.equal(at(image, ours), theirs)


def test_the_five_crops_by_hand() -> None:
    assert five_crops(256, 341, 224) == (
        (0, 0, 224, 224), (0, 117, 224, 224), (32, 0, 224, 224), (32, 117, 224, 224),
        (16, 58, 224, 224),  # 58.5 goes to the even number
    )  # fmt: skip
    assert center_crop(256, 343, 224).left == 60  # 59.5, too


@pytest.mark.parametrize(
    ("height", "width", "resized"),
    [
        (375, 500, [(224, 298), (256, 341), (384, 512), (480, 640), (640, 853)]),
        (500, 375, [(298, 224), (341, 256), (512, 384), (640, 480), (853, 640)]),
        (333, 499, [(224, 335), (256, 383), (384, 575), (480, 719), (640, 959)]),
        (501, 335, [(334, 224), (382, 256), (574, 384), (717, 480), (957, 640)]),
        (100, 100, [(224, 224), (256, 256), (384, 384), (480, 480), (640, 640)]),
    ],
)
def test_multi_scale_sees_the_whole_image_at_each_scale(
    height: int, width: int, resized: list[tuple[int, int]]
) -> None:
    views = ProtocolViews.of("multi-scale", 224)
    assert [resized_size(height, width, side) for side in views.shorter_sides] == resized
    image = pixels(height, width)
    cut = views.cut(image)
    assert [tuple(view.shape) for view in cut] == [(1, 3, h, w) for h, w in resized]
    for view, size in zip(cut, resized, strict=True):
        assert torch.equal(view[0], tv.resize(image, list(size), antialias=True))


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 375), (333, 499), (501, 335), (90, 90)])
def test_crops_are_cut_from_the_image_resized_to_256(height: int, width: int) -> None:
    image = pixels(height, width)
    resized = tv.resize(image, [256], antialias=True)
    (five,) = ProtocolViews.of("10-crop", 224).cut(image)
    assert torch.equal(five, torch.stack(tv.five_crop(resized, [224, 224])))
    (center,) = ProtocolViews.of("single view", 224).cut(image)
    assert torch.equal(center[0], tv.center_crop(resized, [224, 224]))


def test_the_center_crop_is_the_one_of_the_validation_curve(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(pixels(91, 70).permute(1, 2, 0).numpy()).save(tmp_path / name / "1.png")
    files = list_image_folder(tmp_path).test
    curve = CenterCrops(files, image_size=64, shorter_side=73, batch_size=2)[0].images
    views = ProtocolViews.of("single view", 64)
    assert views.shorter_sides == (73,)
    assert torch.equal(views.cut(pixels(91, 70))[0][0], curve[0])


def test_scales_are_the_papers_and_follow_the_size_of_the_training_images() -> None:
    assert EVALUATION_SCALES == {"single view": (256,), "10-crop": (256,), "multi-scale": (224, 256, 384, 480, 640)}
    assert ProtocolViews.of("multi-scale", 224).shorter_sides == (224, 256, 384, 480, 640)
    assert ProtocolViews.of("multi-scale", 64).shorter_sides == (64, 73, 110, 137, 183)
    assert ProtocolViews.of("multi-scale", 32, (224, 225, 448)).shorter_sides == (32, 64)  # each size once


def test_mirrors() -> None:
    assert [ProtocolViews.of(p, 224).mirrored for p in EVALUATION_SCALES] == [False, True, True]


@pytest.mark.parametrize(
    ("protocol", "scales", "message"),
    [
        ("single view", (224, 256), "the single view test has one scale"),
        ("10-crop", (200,), "at least 224"),
        ("multi-scale", (224, 0), "expected at least 32"),
    ],
)
def test_scales_that_do_not_fit_are_refused(
    protocol: EvaluationProtocol, scales: tuple[int, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        ProtocolViews.of(protocol, 224, scales)
