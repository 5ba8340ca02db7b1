from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from PIL import Image

from resrepro.config.recipe import ScaleCrop
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files import decoding, packing
from resrepro.data.image_files.decoding import CorruptImage, decode, resampled, resized_size
from resrepro.data.image_files.listing import ImageFolder
from resrepro.data.image_files.pixel_mean import pixel_mean
from resrepro.data.image_files.prefetch import prefetched
from resrepro.data.image_files.training_views import CenterCrops
from resrepro.data.in_memory import resized
from resrepro.data.loading import open_image_folder
from resrepro.errors import UserError
from support.images import SIDES, encoded, name_of, picture, views

IMAGE = picture(43, 61)
PNG16 = Image.fromarray(np.arange(43 * 61, dtype=np.uint16).reshape(43, 61) * 20)
FILES = {
    "color": encoded(IMAGE),
    "progressive": encoded(IMAGE, progressive=True),
    "4:4:4": encoded(IMAGE, subsampling=0),
    "grayscale": encoded(IMAGE.convert("L")),
    "CMYK": encoded(IMAGE.convert("CMYK")),
    "PNG": encoded(IMAGE, "PNG"),
    "PNG, palette": encoded(IMAGE.convert("P"), "PNG"),
    "PNG, transparent": encoded(IMAGE.convert("RGBA"), "PNG"),
    "PNG, bilevel": encoded(IMAGE.convert("1"), "PNG"),
    "BMP": encoded(IMAGE, "BMP"),
    "TIFF, CMYK": encoded(IMAGE.convert("CMYK"), "TIFF"),
}


@pytest.mark.parametrize("kind", FILES)
def test_colors_are_those_of_pil(kind: str) -> None:
    """PIL and torchvision bring their own decoders, whose inverse transforms may differ by a level."""
    with Image.open(io.BytesIO(FILES[kind])) as image:
        expected = np.array(image.convert("RGB")).astype(int)
    found = decode(FILES[kind], "a.JPEG")
    assert found.dtype == torch.uint8 and found.shape == (3, 43, 61)
    assert np.abs(found.permute(1, 2, 0).numpy() - expected).max() <= 1


def test_16_bits_become_8() -> None:
    found = decode(encoded(PNG16, "PNG"), "a.png")
    assert found.dtype == torch.uint8
    assert (found[0].numpy() == np.array(PNG16) // 257).all() and (found[0] == found[2]).all()


@pytest.mark.parametrize(
    "data",
    [
        FILES["color"][:-300],
        FILES["color"][:-2],
        FILES["PNG"][:-300],
        b"",
        b"<html>no such page</html>",
        FILES["color"][:100] + bytes(200) + FILES["color"][300:],
        encoded(PNG16, "TIFF"),
        (dds := encoded(IMAGE, "DDS"))[:80] + bytes(4) + dds[84:],  # the flags of its pixel format
    ],
    ids=["truncated", "no end", "truncated PNG", "empty", "text", "overwritten", "16 bits in TIFF", "damaged DDS"],
)
def test_what_cannot_be_read_is_named_with_the_fix(data: bytes) -> None:
    with pytest.raises(CorruptImage, match=r"^dir/a.JPEG: not a readable image \(.+\); .*--skip-corrupt$"):
        decode(data, "dir/a.JPEG")


WAYS_TO_SKIP: dict[str, Callable[[ImageFolder, DataOptions], object]] = {
    "training views": lambda tree, _: [views(tree.train, skip_corrupt=True)[i] for i in range(3)],
    "center crops": lambda tree, _: CenterCrops(
        tree.train, image_size=28, shorter_side=32, batch_size=10, skip_corrupt=True
    )[0],
    "pixel mean": lambda tree, options: pixel_mean(tree.train, ScaleCrop(size=28, shorter_side=SIDES), "x", options),
    "squares": lambda tree, options: resized.read(tree, 16, options),
    "store": lambda tree, options: packing.prepare(tree, "x", options),
}


@pytest.mark.parametrize("way", WAYS_TO_SKIP)
def test_a_file_that_cannot_be_read_is_never_skipped_as_corrupt(way: str, birds: Path, tmp_path: Path) -> None:
    """What an unmounted disk or too many open files are, a folder in the place of an image is here."""
    tree = open_image_folder(name_of(birds), data_dir=tmp_path)
    gone = birds / "train" / "owl" / "owl_1.JPEG"
    gone.unlink()
    gone.mkdir()
    with pytest.raises(UserError, match=rf"^{gone}: Is a directory; ") as error:
        WAYS_TO_SKIP[way](tree, DataOptions(data_dir=tmp_path, skip_corrupt=True))
    assert not isinstance(error.value, CorruptImage) and not list(tmp_path.glob("pixel_mean/*.npz"))


def test_each_image_that_is_left_out_is_named(birds: Path, tmp_path: Path) -> None:
    tree = open_image_folder(name_of(birds), data_dir=tmp_path)
    for i in (2, 3):
        Path(tree.train.name(i)).write_bytes(b"no image")
    crops = CenterCrops(tree.train, image_size=28, shorter_side=32, batch_size=10, skip_corrupt=True)
    with pytest.warns(UserWarning) as warned:
        (batch,) = prefetched(crops, range(1), num_workers=1)
        WAYS_TO_SKIP["pixel mean"](tree, DataOptions(data_dir=tmp_path, skip_corrupt=True))
    assert torch.equal(batch.images[2], batch.images[4]) and torch.equal(batch.images[3], batch.images[4])
    names = [tree.train.name(i) for i in (2, 3)]
    said = sorted(str(w.message) for w in warned if w.category is UserWarning)
    assert said == sorted(
        f"{name}: cannot be decoded; {what}" for name in names for what in ("left out", "the next image stands for it")
    )


# 50x35 at 37 pixels and 28x28: a box as large as its crop
SIZES = [
    (375, 500),
    (500, 375),
    (224, 224),
    (333, 501),
    (61, 43),
    (97, 1003),
    (1003, 97),
    (641, 480),
    (30, 31),
    (35, 50),
]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("shorter_side", [24, 256, 333, 480])
def test_resized_size_is_torchvisions(height: int, width: int, shorter_side: int) -> None:
    image = Image.new("L", (width, height))
    assert resized_size(height, width, shorter_side) == TF.resize(image, shorter_side).size[::-1]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("shorter_side", [24, 37, 256, 367])
def test_a_resampled_crop_is_that_of_the_whole_resized(height: int, width: int, shorter_side: int) -> None:
    image = torch.from_numpy(np.array(picture(height, width))).permute(2, 0, 1)
    whole = TF.resize(image, shorter_side, antialias=True)  # in float
    sizes, side = whole.shape[1:], {24: 24, 37: 28, 256: 224, 367: 224}[shorter_side]
    draw = np.random.default_rng(0)
    for u, v in [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), *draw.random((8, 2)).tolist()]:
        top, left = (min(int(x * (n - side + 1)), n - side) for x, n in ((u, sizes[0]), (v, sizes[1])))
        found = resampled(image, shorter_side=shorter_side, top=top, left=left, height=side, width=side)
        expected = whole[:, top : top + side, left : left + side]
        assert found.shape == expected.shape and found.dtype == torch.uint8
        assert found.stride(0) == 1  # stored as (H, W, 3): the other path takes twice the time
        assert (found.int() - expected.int()).abs().max() <= 1
        of_bytes = F.interpolate(image[None], sizes, mode="bilinear", antialias=True)[0]  # rounds as ours does
        assert torch.equal(found, of_bytes[:, top : top + side, left : left + side])


def test_resampling_is_also_pils_within_its_rounding() -> None:
    image = picture(301, 419)
    whole = np.array(TF.resize(image, 256)).astype(int)
    found = resampled(
        torch.from_numpy(np.array(image)).permute(2, 0, 1), shorter_side=256, top=9, left=70, height=224, width=224
    )
    assert np.abs(found.permute(1, 2, 0).numpy() - whole[9:233, 70:294]).max() <= 2


def test_a_crop_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="crop 224x224 at 33, 0 of an image of 256x256"):
        resampled(torch.zeros(3, 50, 50, dtype=torch.uint8), shorter_side=256, top=33, left=0, height=224, width=224)


def test_a_flip_of_any_byte_of_a_png_is_an_error_or_changes_no_pixel() -> None:
    """Torchvision ends the process at a wrong checksum, as that of byte 600 of such a file."""
    whole = encoded(picture(20, 20), "PNG")
    pixels, refused = decode(whole, "a.png"), 0
    for at in range(len(whole)):
        damaged = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        try:
            assert decode(damaged, "a.png").equal(pixels)
        except UserError:
            refused += 1
    assert refused > 0.9 * len(whole)


@pytest.mark.parametrize("kind", ["color", "progressive", "PNG", "BMP"])
def test_an_image_of_too_many_pixels_is_not_decoded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MOST_PIXELS", 43 * 61 - 1)
    with pytest.raises(UserError, match=r"^a.JPEG: not a readable image \(61 x 43 pixels, more than 2622\); .*"):
        decode(FILES[kind], "a.JPEG")
