"""The kernels against torch's own operations."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resrepro.models.kernels import build
from resrepro.models.kernels import fused as module
from resrepro.models.kernels.fused import bn_relu, conv3x3, load_kernels

CHANNELS = [16, 32, 64, 128, 256, 2048]


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = load_kernels()
    if reason:
        pytest.skip(f"no fused kernel here: {reason}")


def case(channels: int, dtype: torch.dtype, size: int = 8) -> tuple[nn.BatchNorm2d, list[torch.Tensor]]:
    torch.manual_seed(channels)
    bn = nn.BatchNorm2d(channels)
    nn.init.uniform_(bn.weight)
    nn.init.normal_(bn.bias)
    x, shortcut, grad = (
        (torch.randn(6, channels, size, size) + offset).to(dtype).contiguous(memory_format=torch.channels_last)
        for offset in (3, 0, 0)
    )
    return bn, [x.requires_grad_(), shortcut.requires_grad_(), grad]


def gradients(bn: nn.BatchNorm2d, x: torch.Tensor, shortcut: torch.Tensor | None, y: torch.Tensor, grad: torch.Tensor):
    wanted = [x, bn.weight, bn.bias] + ([] if shortcut is None else [shortcut])
    return torch.autograd.grad(y, wanted, grad)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("with_shortcut", [False, True])
def test_fp32_equals_torch(fused: None, channels: int, with_shortcut: bool) -> None:
    bn, (x, shortcut, grad) = case(channels, torch.float32)
    k = shortcut if with_shortcut else None
    y = bn_relu(bn, x, k)
    assert "BnRelu" in type(y.grad_fn).__name__ or "BnRelu" in y.grad_fn.name()
    twin = nn.BatchNorm2d(channels).double()  # the same formula in fp64
    with torch.no_grad():
        twin.weight.copy_(bn.weight)
        twin.bias.copy_(bn.bias)
    exact = [None if t is None else t.detach().double().requires_grad_() for t in (x, k)]
    z = twin(exact[0])
    expected = F.relu(z if k is None else z + exact[1])
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(bn.running_mean.double(), twin.running_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(bn.running_var.double(), twin.running_var, rtol=1e-4, atol=1e-6)
    assert bn.num_batches_tracked == 1
    found = gradients(bn, x, k, y, grad)
    wanted = gradients(twin, exact[0], exact[1], expected, grad.double())
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("with_shortcut", [False, True])
def test_bf16_is_the_fp32_result_rounded(fused: None, channels: int, with_shortcut: bool) -> None:
    bn, (x, shortcut, grad) = case(channels, torch.bfloat16)
    k = shortcut if with_shortcut else None
    y = bn_relu(bn, x, k)
    wide = [None if t is None else t.detach().float().requires_grad_() for t in (x, k)]
    z = F.batch_norm(wide[0], None, None, bn.weight, bn.bias, True, 0.1, 1e-5)
    expected = F.relu(z if wide[1] is None else z + wide[1])
    torch.testing.assert_close(y.float(), expected, rtol=2**-8, atol=1e-4)
    found, wanted = gradients(bn, x, k, y, grad), gradients(bn, wide[0], wide[1], expected, grad.float())
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a.float(), b, rtol=2e-2, atol=3e-2)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gradient_passes_where_y_is_positive_also_at_the_mean(fused: None, channels: int, dtype: torch.dtype) -> None:
    """Where a value is the mean, rounding decides: the backward pass must find what the forward did."""
    torch.manual_seed(channels)
    bn = nn.BatchNorm2d(channels)
    nn.init.uniform_(bn.weight, 0.5, 1.5)
    x = torch.randint(-1, 2, (8, channels, 16, 16))
    x = torch.cat([x, -x]) + torch.arange(channels).view(-1, 1, 1) % 7 + 1  # the mean is exactly an integer
    y = bn_relu(bn, x.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_())
    (db,) = torch.autograd.grad(y, bn.bias, torch.ones_like(y))
    assert torch.equal(db, (y > 0).sum((0, 2, 3)).float())


def test_gradients_equal_finite_differences_of_the_formula(fused: None) -> None:
    """Independently of torch's BN: the derivative of sum(grad * relu(bn(x))) along a random direction."""
    bn, (x, _, grad) = case(16, torch.float32)
    direction = torch.randn_like(x)

    def objective(at: torch.Tensor) -> torch.Tensor:
        d = at.double()
        normal = (d - d.mean((0, 2, 3), keepdim=True)) / (d.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
        y = normal * bn.weight.double()[:, None, None] + bn.bias.double()[:, None, None]
        return (y.clamp(min=0) * grad.double()).sum()

    (dx,) = torch.autograd.grad(bn_relu(bn, x), [x], grad)
    step = 1e-5
    slope = (objective(x.double() + step * direction) - objective(x.double() - step * direction)) / (2 * step)
    assert (dx.double() * direction).sum().item() == pytest.approx(slope.item(), rel=2e-3)


def test_no_result_depends_on_the_number_of_threads(fused: None) -> None:
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            bn, (x, shortcut, grad) = case(16, torch.bfloat16, size=64)
            y = bn_relu(bn, x, shortcut)
            results.append([y, bn.running_var, *gradients(bn, x, shortcut, y, grad)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_other_memory_formats_of_shortcut_and_gradient(fused: None) -> None:
    bn, (x, shortcut, grad) = case(16, torch.float32)
    contiguous = shortcut.detach().contiguous().requires_grad_()
    wanted = gradients(bn, x, shortcut, bn_relu(bn, x, shortcut), grad)
    found = gradients(bn, x, contiguous, bn_relu(bn, x, contiguous), grad.contiguous())
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
    ones = torch.ones(()).expand_as(grad)  # strides 0, as the gradient of a sum has
    found = gradients(bn, x, shortcut, bn_relu(bn, x, shortcut), ones)
    wanted = gradients(bn, x, shortcut, bn_relu(bn, x, shortcut), ones.contiguous())
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


def test_a_constant_channel_has_variance_zero(fused: None) -> None:
    bn = nn.BatchNorm2d(16, momentum=None)
    x = torch.full((64, 16, 32, 32), 1.7).contiguous(memory_format=torch.channels_last)
    y = bn_relu(bn, x)
    assert bn.running_var.abs().max() < 1e-9 and not y.any()
    bn, (x, _, _) = case(16, torch.float32)
    far = (x.detach() + 1000).contiguous(memory_format=torch.channels_last)
    bn.momentum = None
    bn_relu(bn, far)
    torch.testing.assert_close(bn.running_var.double(), far.double().var((0, 2, 3)), rtol=1e-4, atol=0)


def test_nan_is_not_hidden(fused: None) -> None:
    bn, (x, _, _) = case(16, torch.bfloat16)
    with torch.no_grad():
        x[0, 3, 0, 0] = torch.nan
    y = bn_relu(bn, x)
    assert y[:, 3].isnan().all() and not y[:, 4].isnan().any()


def test_shapes_it_cannot_take_go_to_torch(fused: None) -> None:
    for channels, size in ((10, 8), (16, 1), (48, 8)):
        bn, (x, shortcut, _) = case(channels, torch.float32, size)
        twin = nn.BatchNorm2d(channels)
        twin.load_state_dict(bn.state_dict())
        torch.testing.assert_close(bn_relu(bn, x, shortcut), F.relu(twin(x) + shortcut))


def test_one_value_a_channel_has_no_variance(fused: None) -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        bn_relu(nn.BatchNorm2d(64), torch.ones(1, 64, 1, 1))


@pytest.fixture
def bf16_instructions(fused: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "cpu_flags", lambda: "avx512_bf16")
    if not hasattr(torch.ops.resrepro, "conv3x3"):
        pytest.skip("this CPU has no AVX512-BF16")


def convolution(
    channels: int, images: int, height: int, width: int, dtype: torch.dtype = torch.bfloat16
) -> tuple[nn.Conv2d, torch.Tensor, torch.Tensor]:
    torch.manual_seed(channels + images)
    conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x, grad = (
        torch.randn(images, channels, height, width).to(dtype).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    return conv, x.requires_grad_(), grad


# all borders; less, just and more than a band of 8 rows, and a chunk of 16 images
@pytest.mark.parametrize("size", [(1, 1, 2), (2, 7, 4), (3, 8, 8), (16, 9, 6), (17, 16, 16), (33, 17, 2)])
@pytest.mark.parametrize("channels", [16, 32, 64])
def test_a_convolutions_gradients_are_fp64s(bf16_instructions: None, channels: int, size: tuple[int, int, int]) -> None:
    conv, x, grad = convolution(channels, *size)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv3x3(conv, x)
    assert "Conv3x3" in y.grad_fn.name() and y.dtype == torch.bfloat16
    dx, dw = torch.autograd.grad(y, (x, conv.weight), grad)
    exact = [t.detach().double().requires_grad_() for t in (x, conv.weight.bfloat16())]
    z = F.conv2d(*exact, padding=1)
    dx64, dw64 = torch.autograd.grad(z, exact, grad.double())
    torch.testing.assert_close(y.double(), z, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(dx.double(), dx64, rtol=1e-2, atol=1e-2)
    assert dw.dtype == torch.float32  # not rounded to bf16 on its way
    assert ((dw.double() - dw64).norm() / dw64.norm()) < 1e-6


def test_a_convolutions_gradient_does_not_depend_on_the_number_of_threads(bf16_instructions: None) -> None:
    conv, x, grad = convolution(32, 40, 16, 16)
    found, before = [], torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        with torch.autocast("cpu", torch.bfloat16):
            found.append(torch.autograd.grad(conv3x3(conv, x), conv.weight, grad)[0])
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_a_gradient_that_is_not_channels_last_is_right(bf16_instructions: None) -> None:
    conv, x, grad = convolution(16, 3, 8, 8)
    for g in (grad.contiguous(), grad[:, :, :1, :1].expand_as(grad)):
        y = conv3x3(conv, x)
        same = torch.autograd.grad(y, conv.weight, g.contiguous(memory_format=torch.channels_last), retain_graph=True)
        assert torch.equal(torch.autograd.grad(y, conv.weight, g)[0], same[0])


def test_convolutions_it_cannot_take_go_to_torch(bf16_instructions: None) -> None:
    x = torch.randn(2, 16, 8, 8).bfloat16().contiguous(memory_format=torch.channels_last)
    others = {
        "stride": (nn.Conv2d(16, 16, 3, 2, padding=1, bias=False), x),
        "width": (nn.Conv2d(16, 32, 3, padding=1, bias=False), x),
        "groups": (nn.Conv2d(16, 16, 3, padding=1, groups=2, bias=False), x),
        "odd": (nn.Conv2d(16, 16, 3, padding=1, bias=False), x[..., :7].contiguous(memory_format=torch.channels_last)),
        "contiguous": (nn.Conv2d(16, 16, 3, padding=1, bias=False), x.contiguous()),
    }
    for name, (conv, own) in others.items():
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(conv3x3(conv, own), conv(own)), name
            assert "Conv3x3" not in conv3x3(conv, own).grad_fn.name(), name


def test_with_amx_convolutions_go_to_torch(bf16_instructions: None, monkeypatch: pytest.MonkeyPatch) -> None:
    conv, x, _ = convolution(16, 2, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert "Conv3x3" in conv3x3(conv, x).grad_fn.name()
        monkeypatch.setattr(build, "cpu_flags", lambda: "avx512_bf16 amx_bf16")
        assert "Conv3x3" not in conv3x3(conv, x).grad_fn.name()


@pytest.fixture
def winograd(fused: None) -> None:
    if not hasattr(torch.ops.resrepro, "conv3x3_winograd"):
        pytest.skip("this CPU has no AVX2")


# all borders at once; one tile; less, just and more than a group of 24 tiles; a height that is not the width; a group
# that ends in a row of tiles
SIZES = [(1, 4, 4), (5, 8, 8), (6, 8, 8), (7, 8, 8), (3, 16, 4), (9, 32, 32), (2, 12, 20), (1, 4, 104)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [16, 32, 64])
def test_a_convolution_in_fp32_is_fp64s(winograd: None, channels: int, size: tuple[int, int, int]) -> None:
    conv, x, grad = convolution(channels, *size, torch.float32)
    y = conv3x3(conv, x)
    assert "Winograd" in y.grad_fn.name() and y.is_contiguous(memory_format=torch.channels_last)
    exact = [t.detach().double().requires_grad_() for t in (x, conv.weight)]
    z = F.conv2d(*exact, padding=1)
    found = (y, *torch.autograd.grad(y, (x, conv.weight), grad))
    for ours, right in zip(found, (z, *torch.autograd.grad(z, exact, grad.double())), strict=True):
        assert (ours.double() - right).abs().max() < 2e-5 * right.abs().max()


def test_a_convolution_in_fp32_does_not_depend_on_the_number_of_threads(winograd: None) -> None:
    conv, x, grad = convolution(32, 40, 16, 16, torch.float32)
    found, before = [], torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        y = conv3x3(conv, x)
        found.append((y, *torch.autograd.grad(y, (x, conv.weight), grad)))
    torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_a_gradient_in_fp32_that_is_not_channels_last_is_right(winograd: None) -> None:
    conv, x, grad = convolution(16, 3, 8, 8, torch.float32)
    y = conv3x3(conv, x)
    for g in (grad.contiguous(), grad[:, :, :1, :1].expand_as(grad)):
        same = torch.autograd.grad(y, x, g.contiguous(memory_format=torch.channels_last), retain_graph=True)
        assert torch.equal(torch.autograd.grad(y, x, g, retain_graph=True)[0], same[0])


@pytest.mark.parametrize(("height", "width"), [(8, 6), (6, 8), (7, 7)])
def test_maps_without_whole_tiles_go_to_torch(winograd: None, height: int, width: int) -> None:
    conv, x, _ = convolution(16, 2, height, width, torch.float32)
    assert torch.equal(conv3x3(conv, x), conv(x))


def test_other_convolutions_in_fp32_go_to_torch(winograd: None) -> None:
    x = torch.randn(2, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    others = {
        "stride": (nn.Conv2d(16, 16, 3, 2, padding=1, bias=False), x),
        "width": (nn.Conv2d(16, 32, 3, padding=1, bias=False), x),
        "groups": (nn.Conv2d(16, 16, 3, padding=1, groups=2, bias=False), x),
        "contiguous": (nn.Conv2d(16, 16, 3, padding=1, bias=False), x.contiguous()),
        "fp64": (nn.Conv2d(16, 16, 3, padding=1, bias=False).double(), x.double()),
    }
    for name, (conv, own) in others.items():
        assert "Winograd" not in conv3x3(conv, own).grad_fn.name(), name
        assert torch.equal(conv3x3(conv, own), conv(own)), name


def test_without_a_compiler_it_says_so_and_torch_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_fused", False)
    monkeypatch.setattr(build.shutil, "which", lambda _: None)
    assert load_kernels() == "there is no g++ on this machine"
    bn, (x, _, _) = case(16, torch.float32)
    assert "BnRelu" not in bn_relu(bn, x).grad_fn.name()
    monkeypatch.undo()
    monkeypatch.setattr(module, "_fused", False)
    broken = tmp_path / "broken.cpp"
    broken.write_text("no C++")
    monkeypatch.setattr(build, "SOURCES", (broken,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if build.shutil.which("g++"):
        assert load_kernels().startswith("the C++ compiler failed (")


def test_a_library_is_on_the_disk_before_it_has_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Until then it has a name that no other process has, also of another machine with the same home folder."""

    def run(words: list[str], **_: object) -> SimpleNamespace:
        if "-o" in words:
            Path(words[-1]).write_bytes(b"a library")
        return SimpleNamespace(stdout="g++ 1")

    synced: list[Path] = []
    monkeypatch.setattr(build.subprocess, "run", run)
    monkeypatch.setattr(build.shutil, "which", lambda _: "g++")
    monkeypatch.setattr(build.os, "fsync", lambda at: synced.append(Path(f"/proc/self/fd/{at}").readlink()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library = build._build()
    assert library.read_bytes() == b"a library" and [*library.parent.iterdir()] == [library]
    assert [path.name for path in synced] == [f"{library.name}.{platform.node()}.{os.getpid()}.tmp"]
