"""Probabilities under each test protocol, the errors they make, and where they are written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.transforms import v2

from resrepro.config.presets import PRESETS
from resrepro.config.recipe import Recipe
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files.dataset import IMAGENET_MEAN_STD, ImageFolderDataset
from resrepro.data.image_files.listing import list_image_folder
from resrepro.data.in_memory.dataset import InMemoryDataset
from resrepro.data.in_memory.images import Images
from resrepro.errors import UserError
from resrepro.evaluation import preprocessing, protocol_views
from resrepro.evaluation.evaluate import EvaluationOptions, evaluate
from resrepro.evaluation.preprocessing import Normalization
from resrepro.evaluation.probabilities import errors, probabilities
from resrepro.evaluation.protocol_views import BATCH_PIXELS, HELD_BATCHES, ProtocolViews, same_sized, view_batches
from resrepro.evaluation.trained_nets import TrainedNet
from resrepro.models import build
from resrepro.paper import EVALUATION_SCALES, EvaluationProtocol
from resrepro.runtime import device
from support.images import smooth_image, write_image
from support.recipes import tiny_recipe

SIZES = [(80, 120), (120, 80), (91, 70), (80, 120), (64, 64), (70, 91)]  # of the test images
IMAGE_SIZE = 64


@torch.no_grad()
def told_apart(net: nn.Module, x: Tensor) -> None:
    """Sets the last layer so that the scores of these inputs differ, and the softmax is not saturated."""
    nn.init.normal_(net.eval().fc.weight)
    logits = net(x)
    std, mean = torch.std_mean(logits, 0)
    net.fc.weight /= std[:, None]
    net.fc.bias.copy_((net.fc.bias - mean) / std)


@pytest.fixture
def tree(tmp_path: Path) -> tuple[ImageFolderDataset, list[Tensor]]:
    """Test images of several sizes, and a class for each third of them."""
    for label in "abc":
        write_image(tmp_path / "train" / label / "0.png", 80, 100, 99)
    images = [
        write_image(tmp_path / "val" / "abc"[i // 2] / f"{i}.png", height, width, i)
        for i, (height, width) in enumerate(SIZES)
    ]
    return on_disk(tmp_path), images


def on_disk(folder: Path, num_workers: int = 0) -> ImageFolderDataset:
    options = DataOptions(data_dir=folder, num_workers=num_workers)
    return ImageFolderDataset(f"folder:{folder}", list_image_folder(folder), options)


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """torchvision's ResNet-18 with random weights and BN statistics."""
    torch.manual_seed(0)
    net = resnet18(num_classes=3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    told_apart(net, torch.stack([normalized(smooth_image(IMAGE_SIZE, IMAGE_SIZE, seed)) for seed in range(8)]))
    return net


@pytest.fixture
def ours(theirs: nn.Module) -> nn.Module:
    net = build("resnet18-B", num_classes=3)
    net.load_state_dict(theirs.state_dict())
    return net


def found(net: nn.Module, dataset: ImageFolderDataset, views: ProtocolViews, compute: device.Compute) -> Tensor:
    return probabilities(
        net, view_batches(dataset, range(len(SIZES)), views), normalization(dataset),
        mirrored=views.mirrored, num_images=len(SIZES), num_classes=3, compute=compute,
    )  # fmt: skip


def normalization(dataset: ImageFolderDataset) -> Normalization:
    recipe = Recipe.model_validate(PRESETS["imagenet"])
    return preprocessing.normalization("channel-mean-std", None, None, dataset, recipe)


def normalized(image: Tensor) -> Tensor:
    """torchvision's usual input."""
    return v2.functional.normalize(image.float() / 255, *map(list, IMAGENET_MEAN_STD))


@torch.no_grad()
def expected(net: nn.Module, inputs: list[Tensor]) -> Tensor:
    """The mean of the softmax over (3, h, w) inputs, one by one."""
    return torch.stack([net(x[None])[0].softmax(0) for x in inputs]).mean(0)


def test_center_crop_is_torchvisions_pipeline(
    tree: tuple[ImageFolderDataset, list[Tensor]], theirs: nn.Module, ours: nn.Module, fp32: device.Compute
) -> None:
    pipeline = v2.Compose([v2.Resize(73, antialias=True), v2.CenterCrop(IMAGE_SIZE), normalized])
    want = torch.stack([expected(theirs, [pipeline(image)]) for image in tree[1]])
    got = found(ours, tree[0], ProtocolViews.of("single view", IMAGE_SIZE), fp32)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
    assert got.std(0).min() > 0.01  # the net tells these images apart


def test_10_crop_is_torchvisions_pipeline(
    tree: tuple[ImageFolderDataset, list[Tensor]], theirs: nn.Module, ours: nn.Module, fp32: device.Compute
) -> None:
    """Where half a pixel is left over, torchvision mirrors the image and takes another center; the paper, the crop."""
    views = ProtocolViews.of("10-crop", IMAGE_SIZE, (224 + 14,))  # 68 pixels: an even number are left over in a square
    resize, ten = v2.Resize(68, antialias=True), v2.TenCrop(IMAGE_SIZE)
    got = found(ours, tree[0], views, fp32)
    even = 0
    for image, row in zip(tree[1], got, strict=True):
        resized = resize(image)
        if not any((size - IMAGE_SIZE) % 2 for size in resized.shape[1:]):
            torch.testing.assert_close(row, expected(theirs, [*map(normalized, ten(resized))]), atol=1e-5, rtol=1e-4)
            even += 1
        five = v2.functional.five_crop(resized, [IMAGE_SIZE, IMAGE_SIZE])
        crops = [normalized(crop) for crop in five]
        want = expected(theirs, [*crops, *(crop.flip(2) for crop in crops)])
        torch.testing.assert_close(row, want, atol=1e-5, rtol=1e-4)
    assert even >= 3


def score_map(net: nn.Module, x: Tensor) -> Tensor:
    """The fully-convolutional form written out: fc as a 1x1 convolution at each position of the last map."""
    features = nn.Sequential(*list(net.children())[:-2])(x[None])
    return F.conv2d(features, net.fc.weight[:, :, None, None], net.fc.bias)[0]


@torch.no_grad()
def test_multi_scale_is_the_score_map_averaged_over_positions_then_mirrors_and_scales(
    tree: tuple[ImageFolderDataset, list[Tensor]], theirs: nn.Module, ours: nn.Module, fp32: device.Compute
) -> None:
    got = found(ours, tree[0], ProtocolViews.of("multi-scale", IMAGE_SIZE), fp32)
    for image, row in zip(tree[1], got, strict=True):
        scores = []
        for side in (64, 73, 110, 137, 183):
            x = normalized(v2.functional.resize(image, [side], antialias=True))
            for view in (x, x.flip(2)):
                scores.append(score_map(theirs, view).mean((1, 2)).softmax(0))
        torch.testing.assert_close(row, torch.stack(scores).mean(0), atol=1e-5, rtol=1e-4)


def test_fully_convolutional_is_the_center_crop_where_the_sizes_agree(
    tmp_path: Path, ours: nn.Module, fp32: device.Compute
) -> None:
    """A square image at the scale of the crop, symmetric, so that its mirror says the same."""
    for part in ("train", "val"):
        for label in "abc":
            pixels = write_image(tmp_path / part / label / "0.png", 96, 48, ord(label))
            square = torch.cat([pixels, pixels.flip(2)], 2)
            Image.fromarray(square.permute(1, 2, 0).numpy()).save(tmp_path / part / label / "0.png")
    dataset = on_disk(tmp_path)
    both = []
    for protocol in ("single view", "multi-scale"):
        views = ProtocolViews.of(protocol, IMAGE_SIZE, (224,))
        both.append(
            probabilities(
                ours, view_batches(dataset, range(3), views), normalization(dataset), mirrored=views.mirrored,
                num_images=3, num_classes=3, compute=fp32,
            )
        )  # fmt: skip
    torch.testing.assert_close(*both, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "protocol", [pytest.param(p, marks=[pytest.mark.slow] if p == "multi-scale" else []) for p in EVALUATION_SCALES]
)
def test_small_batches_change_nothing(
    protocol: EvaluationProtocol, tree: tuple[ImageFolderDataset, list[Tensor]], ours: nn.Module, fp32: device.Compute,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    views = ProtocolViews.of(protocol, IMAGE_SIZE)
    want = found(ours, tree[0], views, fp32)
    monkeypatch.setattr(protocol_views, "IMAGES_AT_A_TIME", 2)
    monkeypatch.setitem(BATCH_PIXELS, "cpu", 1)
    torch.testing.assert_close(found(ours, tree[0], views, fp32), want, atol=1e-5, rtol=1e-4)


def test_worker_threads_change_nothing(tree: tuple[ImageFolderDataset, list[Tensor]], tmp_path: Path) -> None:
    views = ProtocolViews.of("multi-scale", IMAGE_SIZE)
    here, there = (list(view_batches(on_disk(tmp_path, n), range(len(SIZES)), views)) for n in (0, 1))
    assert all(torch.equal(a, b) for x, y in zip(here, there, strict=True) for a, b in zip(x, y, strict=True))


def test_batches_are_of_one_size_full_and_wait_within_bounds() -> None:
    draw = np.random.default_rng(0)
    sides = [(8, 8 + int(k)) for k in draw.integers(0, 40, 500)]
    taken = 0

    def pieces() -> Iterator[tuple[int, Tensor]]:
        nonlocal taken
        for i, (h, w) in enumerate(sides):
            taken += h * w
            yield i, torch.full((1, 3, h, w), i % 256, dtype=torch.uint8)

    seen, given = [], 0
    for numbers, views in same_sized(pieces(), batch_pixels=1000):
        given += views[:, :, 0].numel()
        assert taken - given <= HELD_BATCHES * 1000
        assert [int(v[0, 0, 0, 0]) for v in views] == [int(i) % 256 for i in numbers]
        seen += numbers.tolist()
    assert sorted(seen) == list(range(500))
    few = list(same_sized(((i, torch.zeros(1, 3, 10, 10)) for i in range(25)), batch_pixels=1000))
    assert [len(numbers) for numbers, _ in few] == [10, 10, 5]


def test_the_mean_image_is_resized_to_the_view(fp32: device.Compute) -> None:
    ramp = torch.linspace(0, 100, 64).expand(3, 64, 64).contiguous()
    centered = Normalization(mean=ramp, std=torch.ones(3, 1, 1))
    same = centered(torch.full((2, 3, 64, 64), 200, dtype=torch.uint8))
    assert torch.equal(same[0], 200 - ramp)
    other = centered(torch.zeros(1, 3, 73, 110, dtype=torch.uint8))[0]
    assert other.shape == (3, 73, 110)
    assert -other[0, 0, 0].item() == pytest.approx(0, abs=0.5) and -other[0, -1, -1].item() == pytest.approx(
        100, abs=0.5
    )
    assert -other.mean().item() == pytest.approx(50, abs=0.1)


def test_top_1_and_top_5_are_topks_and_ties_go_to_the_smaller_class() -> None:
    draw = torch.Generator().manual_seed(0)
    p = torch.rand(200, 12, generator=draw).softmax(1)
    y = torch.randint(0, 12, (200,), generator=draw)
    for top, error in ((1, errors(p, y).top1_pct), (5, errors(p, y).top5_pct)):
        assert error == pytest.approx(100 * (p.topk(top).indices != y[:, None]).all(1).float().mean().item())
    assert errors(p, y).loss == pytest.approx(F.nll_loss(p.log(), y).item(), rel=1e-6)
    even = torch.full((6, 6), 1 / 6)
    found = errors(even, torch.arange(6))
    assert (found.top1_pct, found.top5_pct) == (pytest.approx(100 * 5 / 6), pytest.approx(100 / 6))
    assert errors(torch.full((4, 4), 0.25), torch.arange(4)).top5_pct is None
    assert np.isfinite(errors(torch.eye(5), torch.tensor([1, 0, 2, 3, 4])).loss)
    with pytest.raises(UserError, match="not finite"):
        errors(torch.full((2, 5), torch.nan), torch.zeros(2, dtype=torch.int64))


def test_an_ensemble_is_the_mean_of_the_softmax(images: Images, tmp_path: Path, fp32: device.Compute) -> None:
    nets, softmax = [], []
    dataset = InMemoryDataset(images, DataOptions(data_dir=tmp_path))
    x = (images.test_images - images.pixel_mean()).permute(0, 3, 1, 2)
    for seed in (0, 1, 2):
        net = build("resnet8", num_classes=3, seed=seed)
        told_apart(net, x)
        torch.save(net.state_dict(), tmp_path / f"{seed}.pt")
        nets.append(TrainedNet(name=str(seed), arch="resnet8", dataset="", weights=tmp_path / f"{seed}.pt"))
        with torch.no_grad():
            softmax.append(net(x).softmax(1))
    *each, together = evaluate(nets, EvaluationOptions(protocol="single view", compute=fp32), dataset, ensemble=True)
    for scores, p in zip(each, softmax, strict=True):
        assert scores.moving.top1_pct == pytest.approx(100 * (p.argmax(1) != images.test_labels).float().mean().item())
        assert scores.reestimated is None and scores.moving.top5_pct is None
    mean = torch.stack(softmax).mean(0)
    assert together.moving.loss == pytest.approx(F.nll_loss(mean.log(), images.test_labels).item(), rel=1e-5)
    assert together.name == "ensemble of 3"
    with pytest.raises(UserError, match="no larger image to cut crops from"):
        list(evaluate(nets, EvaluationOptions(protocol="10-crop", compute=fp32), dataset, ensemble=False))


def test_a_look_takes_images_from_everywhere(fp32: device.Compute) -> None:
    setup = EvaluationOptions(protocol="single view", compute=fp32, max_images=4)
    assert setup.numbers(10) == [0, 2, 5, 7]
    assert setup.numbers(3) == [0, 1, 2]
    sizes = (tiny_recipe(batch_size=256), tiny_recipe(batch_size=2))
    assert [setup.num_mini_batches(recipe) for recipe in sizes] == [1, 2]
    whole = EvaluationOptions(protocol="single view", compute=fp32)
    own = tiny_recipe(bn_average_batches=7)  # as at the end of such a run
    assert [whole.num_mini_batches(recipe) for recipe in (*sizes, own)] == [100, 100, 7]
