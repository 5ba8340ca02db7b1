"""ResNeXt (Xie et al. 2017): its block's equal forms, its counts, a training step, its experiment."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resrepro.config.architectures import architecture
from resrepro.config.toml_files import find_experiment, find_experiments
from resrepro.models import build
from resrepro.models.blocks import Bottleneck
from resrepro.models.complexity import complexity
from resrepro.models.kernels import fused
from support.recipes import paper_recipe


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("arch", ["resnext50-32x4d", "resnext29-8x64d"])
@pytest.mark.parametrize(("width", "stride"), [(64, 1), (128, 2)])
def test_the_three_forms_of_its_fig_3_are_equal(arch: str, width: int, stride: int, training: bool) -> None:
    torch.manual_seed(0)
    spec = architecture(arch)
    block = Bottleneck(256, width, stride, spec).double().train(training)
    for name, value in [*block.named_parameters(), *block.named_buffers()]:
        if "bn" in name and value.is_floating_point():
            nn.init.uniform_(value, 0.5, 1.5)
    x = torch.randn(2, 256, 6, 6, dtype=torch.float64)

    def normal(bn: nn.BatchNorm2d, y: Tensor, own: slice) -> Tensor:
        mean, var = bn.running_mean[own].clone(), bn.running_var[own].clone()
        return F.batch_norm(y, mean, var, bn.weight[own], bn.bias[own], training, eps=bn.eps)

    path_width = spec.base_width * width // 64
    own = [slice(i * path_width, (i + 1) * path_width) for i in range(spec.cardinality)]
    embedded = [normal(block.bn1, F.conv2d(x, block.conv1.weight[s]), s).relu() for s in own]
    conv2 = [F.conv2d(y, block.conv2.weight[s], None, stride, 1) for y, s in zip(embedded, own, strict=True)]
    paths = [normal(block.bn2, y, s).relu() for y, s in zip(conv2, own, strict=True)]
    aggregated = sum(F.conv2d(y, block.conv3.weight[:, s]) for y, s in zip(paths, own, strict=True))
    concatenated = F.conv2d(torch.cat(paths, 1), block.conv3.weight)
    shortcut = x if stride == 1 else block.downsample(x)
    grouped = block(x)
    for form in (aggregated, concatenated):
        expected = (normal(block.bn3, form, slice(None)) + shortcut).relu()
        torch.testing.assert_close(grouped, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("arch", "blocks", "cardinality", "path_width", "kernel", "stem_side", "side", "num_classes"),
    [
        ("resnext50-32x4d", (3, 4, 6, 3), 32, 4, 7, 112, 56, 1000),
        ("resnext101-32x4d", (3, 4, 23, 3), 32, 4, 7, 112, 56, 1000),
        ("resnext29-8x64d", (3, 3, 3), 8, 64, 3, 32, 32, 10),
        ("resnext29-16x64d", (3, 3, 3), 16, 64, 3, 32, 32, 10),
    ],
)
def test_counts_are_those_of_its_formula(
    arch: str, blocks: tuple[int, ...], cardinality: int, path_width: int, kernel: int, stem_side: int, side: int,
    num_classes: int,
) -> None:  # fmt: skip
    """Eqn. 4, C (in d + 9 d d + d out) a block, with stem, BN, projections and fc, in plain arithmetic."""
    channels, stem = 64, 3 * 64 * kernel**2
    parameters, multiply_adds = stem + 2 * 64, stem * stem_side**2
    for stage, num_blocks in enumerate(blocks):
        out, d = 256 * 2**stage, path_width * 2**stage
        for block in range(num_blocks):
            side_before, side = side, side // 2 if stage and not block else side
            first, rest = cardinality * channels * d, cardinality * (9 * d * d + d * out)
            projection = 0 if block else channels * out
            parameters += first + rest + projection + 2 * (2 * cardinality * d + out) + (0 if block else 2 * out)
            multiply_adds += first * side_before**2 + (rest + projection) * side**2
            channels = out
    fc = channels * num_classes
    counts = complexity(arch)
    assert counts.num_parameters == parameters + fc + num_classes
    assert counts.num_multiply_adds == multiply_adds + fc


def test_labels_are_the_papers() -> None:
    assert architecture("resnext50-32x4d").label == "ResNeXt-50 (32x4d)"
    assert architecture("resnext29-8x64d").label == "ResNeXt-29 (8x64d)"


def test_a_training_step_is_right_fused_and_separate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both against fp64, with 2 % for gradients: rounding moves some activations over ReLU's zero."""
    reason = fused.load_kernels()
    if reason:
        pytest.skip(f"no fused kernel here: {reason}")
    torch.manual_seed(0)
    x = torch.randn(8, 3, 16, 16)
    kernel, num_fused, results = fused._bn_relu_fused, [], []

    def counted(bn: nn.BatchNorm2d, *tensors: Tensor) -> Tensor:
        num_fused.append(bn.num_features)
        return kernel(bn, *tensors)

    monkeypatch.setattr(fused, "_bn_relu_fused", counted)
    for enabled, dtype in ((True, torch.float32), (False, torch.float32), (False, torch.float64)):
        monkeypatch.setattr(fused, "_fused", enabled)
        net = build("resnext29-8x64d", num_classes=10, seed=0).to(dtype).to(memory_format=torch.channels_last)
        loss = F.cross_entropy(net(x.to(dtype).contiguous(memory_format=torch.channels_last)), torch.arange(8))
        results.append((loss.double(), torch.autograd.grad(loss, list(net.parameters()))))
    assert len(num_fused) == 28 and max(num_fused) == 2048  # every BN that ends in a ReLU
    *both, (exact_loss, exact) = results
    for loss, gradients in both:
        torch.testing.assert_close(loss, exact_loss, rtol=1e-5, atol=0)
        assert all((a - b).norm() < 0.02 * b.norm() for a, b in zip(gradients, exact, strict=True))


def test_its_experiment_differs_from_sec_4_2_as_it_says_and_is_no_part_of_all() -> None:
    experiment = find_experiment("resnext")
    epoch = -(-50000 // 128)
    recipe = paper_recipe(total_iters=300 * epoch, lr_drop_iters=(150 * epoch, 225 * epoch), weight_decay=5e-4)
    ours, baseline = experiment.runs
    assert ours.recipe == recipe and baseline.recipe.model_copy(update={"warmup": None}) == recipe
    every = [e.name for e in find_experiments(["all"])]
    assert "cifar-resnet" in every and "resnext" not in every
